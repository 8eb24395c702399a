// Backends, pools, volumes and hosts as a tree, with GiB and dollars a month; and an estimate for own numbers.
import { useState } from '../vendor/preact-hooks.js';
import { all, can, get } from './api.js';
import { Failure, Field, Name, Panel, html, many, usePoll } from './ui.js';

// List prices in us-east-1, November 2026, a GiB and month: docs/reference/cost.md has the whole computation.
const PRICES = { volume: 0.08, backup: 0.023 };
const money = number => `$${number.toFixed(2)}`;

async function read() {
  const [volumes, backups, pools] = await Promise.all([all('/volumes/detail?limit=1000', 'volumes', 1000), all('/backups/detail?limit=500', 'backups', 2000), can.admin ? get('/scheduler-stats/get_pools?detail=true') : null]);
  return { volumes, backups, pools: pools?.pools };
}

const sum = (rows, of) => rows.reduce((total, row) => total + of(row), 0);

export default function Topology() {
  const { data, error } = usePoll(read);
  const [own, setOwn] = useState({ volumes: 100, backups: 300 });
  if (!data) return html`<${Failure} error=${error} />${!error && html`<p class="soft" role="status">Loading…</p>`}`;
  const places = Map.groupBy ? Map.groupBy(data.volumes, one => one['os-vol-host-attr:host'] || one.availability_zone) : new Map();
  for (const pool of data.pools || []) if (!places.has(pool.name)) places.set(pool.name, []);
  const stored = sum(data.backups.filter(one => !one.is_incremental), one => one.size);
  const gib = sum(data.volumes, one => one.size);
  return html`<div class="heading"><div><h1>Topology and cost</h1><span class="soft">${many(data.volumes.length, 'volume')}, ${gib} GiB; ${many(data.backups.length, 'backup')}</span></div></div>
    <${Failure} error=${error} />
    <div class="grid"><${Panel} title="Where the data is"><ul class="lineage">${[...places].sort().map(([place, volumes]) => html`<li key=${place}><strong class="mono">${place || 'not placed'}</strong> <span class="soft">${many(volumes.length, 'volume')}, ${sum(volumes, one => one.size)} GiB</span>
      <ul class="lineage">${volumes.slice(0, 30).map(one => html`<li key=${one.id}><${Name} of=${one.name} id=${one.id} href="#/volumes/${one.id}" /> <span class="soft">${one.size} GiB${one.attachments.map(host => ` → ${host.host_name || host.server_id || 'a host'}`).join('')}${data.backups.filter(backup => backup.volume_id === one.id).length ? `, ${many(data.backups.filter(backup => backup.volume_id === one.id).length, 'backup')}` : ''}</span></li>`)}${volumes.length > 30 && html`<li class="soft">and ${volumes.length - 30} more</li>`}</ul></li>`)}</ul><//>
    <${Panel} title="What it costs a month"><p>If every volume were on EBS gp3: <strong>${money(gib * PRICES.volume)}</strong> <span class="soft">(${gib} GiB at $${PRICES.volume})</span></p>
      <p>Backups in S3, full ones counted whole: <strong>${money(stored * PRICES.backup)}</strong> <span class="soft">(at most ${stored} GiB at $${PRICES.backup}; compression and shared blocks make it less)</span></p><p class="soft">List prices of us-east-1. A storage host of your own has its own price.</p><//>
    <${Panel} title="Estimate"><${Field} id="e-v" spec=${{ label: 'GiB of volumes on gp3', type: 'number', min: 0 }} value=${own.volumes} onChange=${value => setOwn(old => ({ ...old, volumes: value }))} /><${Field} id="e-b" spec=${{ label: 'GiB stored in S3', type: 'number', min: 0 }} value=${own.backups} onChange=${value => setOwn(old => ({ ...old, backups: value }))} />
      <p role="status">About <strong>${money(Number(own.volumes) * PRICES.volume + Number(own.backups) * PRICES.backup)}</strong> a month.</p><//></div>`;
}
