// Backends, pools, volumes, hosts and copies as a drawn graph, with GiB and dollars a month; an estimate for own numbers.
import { useState } from '../vendor/preact-hooks.js';
import { all, can, get, listed } from './api.js';
import { Graph } from './graph.js';
import { Failure, Field, Name, Panel, Table, html, many, tone, usePoll } from './ui.js';

// List prices in us-east-1, November 2026, a GiB and month: docs/reference/cost.md has the whole computation.
const PRICES = { volume: 0.08, backup: 0.023 };

/** Volumes of one pool that are drawn each; the rest is one node. */
const DRAWN = 12;

/** The largest object of a backup, in GiB: what is stored is at most their number times this. */
const PACK = 1 / 32;

const money = number => (number > 0 && number < 0.005 ? '< $0.01' : `$${number.toFixed(2)}`);
const gib = number => `${Math.round(number * 100) / 100} GiB`;
const noted = (size, price) => `${gib(size)}, ${money(size * price)}/month`;
const sum = (rows, of) => rows.reduce((total, row) => total + of(row), 0);
export const stored = backup => Math.min(backup.size, (backup.object_count || 0) * PACK);

async function read() {
  const [volumes, backups, pools] = await Promise.all([all(listed('/volumes/detail?limit=1000'), 'volumes', 1000), all(listed('/backups/detail?limit=500'), 'backups', 2000), can.admin ? get('/scheduler-stats/get_pools?detail=true') : null]);
  return { volumes, backups, pools: pools?.pools.map(one => one.name) || [] };
}

/** Pool, or for users who see no pools the zone, -> its volumes. */
function places({ volumes, pools }) {
  const found = new Map(pools.map(name => [name, []]));
  for (const one of volumes) {
    const place = one['os-vol-host-attr:host'] || (can.admin ? 'not placed' : one.availability_zone) || 'not placed';
    if (!found.has(place)) found.set(place, []);
    found.get(place).push(one);
  }
  return [...found].sort(([one], [other]) => one.localeCompare(other));
}

const attachedTo = one => one.host_name || (one.server_id ? `server ${one.server_id.slice(0, 8)}` : 'a host');

/** The nodes right of a volume: hosts that use it, and its backups as one. */
function around(volume, backups, nodes) {
  for (const one of volume.attachments) {
    const id = `host ${attachedTo(one)}`;
    const known = nodes.get(id);
    if (known) known.from.push(volume.id); else nodes.set(id, { id, column: 3, kind: 'host', name: attachedTo(one), note: 'attached', from: [volume.id] });
  }
  const own = backups.filter(one => one.volume_id === volume.id);
  const copies = own.filter(one => one['cinderless:copied_from']).length;
  if (!own.length) return;
  const note = `${copies ? `${many(copies, 'copy').replace('copys', 'copies')}; ` : ''}≤ ${noted(sum(own, stored), PRICES.backup)}`;
  nodes.set(`backups ${volume.id}`, { id: `backups ${volume.id}`, column: 3, kind: 'backups', name: many(own.length, 'backup'), note, href: '#/protection', from: [volume.id] });
}

function drawn({ volumes, backups, pools }) {
  const nodes = new Map();
  for (const [place, found] of places({ volumes, pools })) {
    const backend = place.split('#')[0];
    if (can.admin && place !== 'not placed' && !nodes.has(backend)) nodes.set(backend, { id: backend, column: 0, kind: 'backend', name: backend, note: '', href: '#/services', from: [] });
    nodes.set(`pool ${place}`, { id: `pool ${place}`, column: 1, kind: 'pool', name: place.split('#')[1] || place, note: `${many(found.length, 'volume')}, ${noted(sum(found, one => one.size), PRICES.volume)}`, from: [backend] });
    const largest = [...found].sort((one, other) => other.attachments.length - one.attachments.length || other.size - one.size);
    for (const one of largest.slice(0, DRAWN)) {
      nodes.set(one.id, { id: one.id, column: 2, kind: 'volume', name: one.name || one.id.slice(0, 8), note: noted(one.size, PRICES.volume), href: `#/volumes/${one.id}`, bad: tone(one.status) === 'bad', from: [`pool ${place}`] });
      around(one, backups, nodes);
    }
    const rest = largest.slice(DRAWN);
    if (rest.length) nodes.set(`rest ${place}`, { id: `rest ${place}`, column: 2, kind: 'rest', name: `${rest.length} more`, note: noted(sum(rest, one => one.size), PRICES.volume), href: '#/volumes', from: [`pool ${place}`] });
  }
  for (const one of nodes.values()) {
    if (one.kind === 'backend') { const own = volumes.filter(volume => volume['os-vol-host-attr:host']?.startsWith(`${one.id}#`)); one.note = `${many(own.length, 'volume')}, ${noted(sum(own, volume => volume.size), PRICES.volume)}`; }
  }
  // Users see no backends: their first column is the zone.
  return [...nodes.values()].map(one => (can.admin ? one : { ...one, column: one.column - 1 }));
}

const COLUMNS = backups => [
  { key: 'name', label: 'Volume', sort: row => row.name, of: row => html`<${Name} of=${row.name} id=${row.id} href="#/volumes/${row.id}" />` },
  { key: 'place', label: can.admin ? 'Pool' : 'Zone', sort: row => row['os-vol-host-attr:host'] || row.availability_zone, of: row => html`<code>${row['os-vol-host-attr:host'] || row.availability_zone}</code>` },
  { key: 'hosts', label: 'Attached to', of: row => row.attachments.map(attachedTo).join(', ') || html`<span class="soft">–</span>` },
  { key: 'size', label: 'GiB', number: true, sort: row => row.size, of: row => row.size },
  { key: 'cost', label: 'As gp3, a month', number: true, sort: row => row.size, of: row => money(row.size * PRICES.volume) },
  { key: 'backups', label: 'Backups', number: true, sort: row => backups.get(row.id)?.length || 0, of: row => backups.get(row.id)?.length || 0 },
  { key: 'stored', label: 'Stored GiB, at most', number: true, sort: row => sum(backups.get(row.id) || [], stored), of: row => gib(sum(backups.get(row.id) || [], stored)).replace(' GiB', '') },
  { key: 'backupcost', label: 'In S3, a month', number: true, of: row => money(sum(backups.get(row.id) || [], stored) * PRICES.backup) },
];

function Estimate() {
  const [own, setOwn] = useState({ volumes: 100, backups: 300 });
  const field = (name, label) => html`<${Field} id="e-${name}" spec=${{ name, label, type: 'number', min: 0 }} value=${own[name]} onChange=${value => setOwn(old => ({ ...old, [name]: value }))} />`;
  return html`<${Panel} title="Estimate"><div class="actions" style=${{ alignItems: 'end' }}>${field('volumes', 'GiB of volumes on gp3')}${field('backups', 'GiB stored in S3')}
    <p role="status">About <strong>${money(Number(own.volumes) * PRICES.volume + Number(own.backups) * PRICES.backup)}</strong> a month.</p></div><//>`;
}

export default function Topology() {
  const { data, error } = usePoll(read);
  if (!data) return html`<${Failure} error=${error} />${!error && html`<p class="soft" role="status">Loading…</p>`}`;
  const { volumes, backups } = data;
  const byVolume = new Map();
  for (const one of backups) byVolume.set(one.volume_id, [...(byVolume.get(one.volume_id) || []), one]);
  const size = sum(volumes, one => one.size), kept = sum(backups, stored);
  return html`<div class="heading"><div><h1>Topology and cost</h1><span class="soft">${many(volumes.length, 'volume')}, ${gib(size)}; ${many(backups.length, 'backup')}, at most ${gib(kept)} stored</span></div></div>
    <${Failure} error=${error} />
    <p class="notice">On EBS gp3 the volumes cost <strong>${money(size * PRICES.volume)}</strong> a month ($${PRICES.volume} a GiB), the backups in S3 at most <strong>${money(kept * PRICES.backup)}</strong> ($${PRICES.backup} a GiB).
      <span class="soft"> List prices of us-east-1. A storage host of your own has its own price.</span></p>
    <${Panel} title="Where the data is">${volumes.length || data.pools.length ? html`<${Graph} label="Backends, pools, volumes, hosts and backups" titles=${[...(can.admin ? ['Backend', 'Pool'] : ['Zone']), 'Volume', 'Hosts and backups']} nodes=${drawn(data)} leading=${can.admin ? 2 : 1} />` : html`<span class="soft">There are no volumes yet.</span>`}<//>
    <${Table} title="Volumes and their cost" rows=${volumes} columns=${COLUMNS(byVolume)} cli="openstack volume list --long" path=${listed('/volumes/detail')} empty="This project has no volumes." />
    <${Estimate} />`;
}
