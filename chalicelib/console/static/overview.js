// Is all well? Volumes by status, quotas, pools, what is in transition and since when, what failed lately.
import { can, everywhere, get, listed, session } from './api.js';
import { createVolume, known } from './forms.js';
import { Actions, Badge, Failure, Name, Panel, Time, Usage, html, isBusy, many, tone, usePoll } from './ui.js';
import { link } from './requests.js';

const LIMITS = [
  ['Volumes', 'volumes', 'totalVolumesUsed', 'maxTotalVolumes', ''],
  ['Volume capacity', 'gigabytes', 'totalGigabytesUsed', 'maxTotalVolumeGigabytes', ' GiB'],
  ['Snapshots', 'snapshots', 'totalSnapshotsUsed', 'maxTotalSnapshots', ''],
  ['Backups', 'backups', 'totalBackupsUsed', 'maxTotalBackups', ''],
  ['Backup capacity', 'backup', 'totalBackupGigabytesUsed', 'maxTotalBackupGigabytes', ' GiB'],
];

async function read() {
  const [volumes, limits, operations, pools, services] = await Promise.all([
    get(listed('/volumes/detail?limit=1000')), get('/limits'), get(listed('/operations?limit=30')),
    can.admin ? get('/scheduler-stats/get_pools?detail=true') : null, can.admin ? get('/os-services') : null,
  ]);
  return {
    volumes: volumes.volumes, more: Boolean(volumes.volumes_links?.length), limits: limits.limits.absolute, operations: operations.operations,
    pools: pools?.pools, down: services?.services.filter(one => one.state === 'down' || one.status === 'disabled'),
  };
}

export function poolUse(pool) {
  const { total_capacity_gb: total, free_capacity_gb: free, allocated_capacity_gb: claimed } = pool.capabilities;
  const known = typeof total === 'number' && typeof free === 'number';
  return { total, free, claimed, used: known ? Math.max(0, total - free) : null, known };
}

export const rounded = number => (typeof number === 'number' ? Math.round(number * 10) / 10 : number ?? 'unknown');

/** What a project without volumes begins with. */
const Start = () => html`<${Panel} title="Getting started"><ol class="start">
    <li><strong>Create</strong> a volume: press <em>Create volume</em>. The form shows where it would be placed.</li>
    <li><strong>Attach</strong> it to a host on the volume’s page, which then shows the target, the account and the commands for the host.</li>
    <li><strong>Back up</strong> the volume on its page, once or on a schedule under <a href="#/protection">Backups</a>.</li>
    <li><strong>Restore</strong> a backup to a new volume, or to an existing one, under <a href="#/protection">Backups</a>.</li></ol><//>`;

export default function Overview() {
  const { data, error, again } = usePoll(read, found => found.volumes.some(one => isBusy(one.status)));
  const facts = usePoll(known).data || {};
  if (!data) return html`<${Failure} error=${error} />${!error && html`<p class="soft" role="status">Loading…</p>`}`;
  const counts = {};
  for (const one of data.volumes) counts[one.status] = (counts[one.status] || 0) + 1;
  const moving = data.operations.filter(one => one.status === 'running');
  const failed = data.operations.filter(one => one.status === 'failed').slice(0, 6);
  const bad = data.volumes.filter(one => tone(one.status) === 'bad');
  const state = bad.length || data.down?.length ? 'bad' : moving.length ? 'busy' : 'good';
  const troubles = [
    bad.length && html`${many(bad.length, 'volume')} in error: ${bad.slice(0, 5).map((one, place) => html`${place > 0 && ', '}<${Name} of=${one.name} id=${one.id} href="#/volumes/${one.id}" />`)}${bad.length > 5 && ' and more'}. `,
    data.down?.length && html`<a href="#/services">${many(data.down.length, 'service')}</a> down or disabled.`,
  ].filter(Boolean);
  const sentence = troubles.length ? troubles : moving.length ? `${many(moving.length, 'operation')} under way.` : 'All is well. Nothing is under way.';
  return html`<div class="heading"><div><h1>Overview</h1><span class="soft">${everywhere.value ? 'All projects' : `Project ${session.value.project}`}</span></div><div class="actions">${can.write && html`<${Actions} forms=${[createVolume(facts)]} onDone=${again} />`}</div></div>
    <${Failure} error=${error} />
    <p class="notice ${state}">${sentence}</p>
    ${!data.volumes.length && html`<${Start} />`}
    <div class="tiles">
      <a class="tile" href="#/volumes"><strong>${data.volumes.length}${data.more ? '+' : ''}</strong>volumes</a>
      ${Object.entries(counts).sort().map(([status, count]) => html`<a class="tile" key=${status} href="#/volumes/status/${status}"><strong>${count}</strong><${Badge} status=${status} /></a>`)}
    </div>
    <div class="grid">
      <${Panel} title="Quota of project ${session.value.project}"><div class="usage">${LIMITS.map(([label, key, used, limit, unit]) => html`<${Usage} key=${key} label=${label} used=${data.limits[used] ?? 0} limit=${data.limits[limit] ?? -1} unit=${unit} />`)}</div><//>
      <${Panel} title="Under way">${moving.length ? moving.map(one => html`<p key=${one.id}><a href="#/requests/${one.id}">${one.action} ${one.resource_type}</a> <${Name} of=${one.resource_name} id=${one.resource_id} /> <span class="soft">since <${Time} at=${one.started_at} /></span></p>`) : html`<span class="soft">Nothing.</span>`}<//>
      <${Panel} title="Failed lately">${failed.length ? failed.map(one => html`<p key=${one.id}><a href="#/requests/${one.id}">${one.action} ${one.resource_type}</a> <${Name} of=${one.resource_name} id=${one.resource_id} href=${link(one)} /> <span class="soft"><${Time} at=${one.ended_at} /></span><br />${one.error}</p>`) : html`<span class="soft">Nothing.</span>`}<//>
      ${data.pools && html`<${Panel} title="Pools">${data.pools.map(pool => { const use = poolUse(pool); return html`<div key=${pool.name}><p class="soft mono">${pool.name}</p><div class="usage"><${Usage} label="Used" used=${rounded(use.used ?? 0)} limit=${use.known ? rounded(use.total) : -1} unit=" GiB" />
        <${Usage} label="Claimed" used=${rounded(use.claimed ?? 0)} limit=${use.known ? rounded(use.total) : -1} unit=" GiB" /></div></div>`; })}<//>`}
    </div>`;
}
