// Is all well? Volumes by status, quotas, pools, what is in transition and since when, what failed lately.
import { can, get, session } from './api.js';
import { Badge, Failure, Name, Panel, Time, Usage, html, isBusy, many, tone, usePoll } from './ui.js';

const LIMITS = [
  ['Volumes', 'volumes', 'totalVolumesUsed', 'maxTotalVolumes', ''],
  ['Volume capacity', 'gigabytes', 'totalGigabytesUsed', 'maxTotalVolumeGigabytes', ' GiB'],
  ['Snapshots', 'snapshots', 'totalSnapshotsUsed', 'maxTotalSnapshots', ''],
  ['Backups', 'backups', 'totalBackupsUsed', 'maxTotalBackups', ''],
  ['Backup capacity', 'backup', 'totalBackupGigabytesUsed', 'maxTotalBackupGigabytes', ' GiB'],
];

async function read() {
  const [volumes, limits, operations, pools, services] = await Promise.all([
    get('/volumes/detail?limit=1000'), get('/limits'), get('/operations?limit=30'),
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

export default function Overview() {
  const { data, error } = usePoll(read, found => found.volumes.some(one => isBusy(one.status)));
  if (!data) return html`<${Failure} error=${error} />${!error && html`<p class="soft" role="status">Loading…</p>`}`;
  const counts = {};
  for (const one of data.volumes) counts[one.status] = (counts[one.status] || 0) + 1;
  const moving = data.operations.filter(one => one.status === 'running');
  const failed = data.operations.filter(one => one.status === 'failed').slice(0, 6);
  const bad = Object.keys(counts).filter(status => tone(status) === 'bad').reduce((sum, status) => sum + counts[status], 0);
  const state = bad || data.down?.length ? 'bad' : moving.length ? 'busy' : '';
  const sentence = state === 'bad'
    ? [bad && `${bad} of your volumes need${bad === 1 ? 's' : ''} attention`, data.down?.length && `${many(data.down.length, 'service')} down or disabled`].filter(Boolean).join('; ')
    : moving.length ? `${many(moving.length, 'operation')} under way.` : 'All is well. Nothing is under way.';
  return html`<div class="heading"><div><h1>Overview</h1><span class="soft">Project ${session.value.project}</span></div></div>
    <${Failure} error=${error} />
    <p class="notice ${state}">${sentence}</p>
    <div class="tiles">
      <a class="tile" href="#/volumes"><strong>${data.volumes.length}${data.more ? '+' : ''}</strong>volumes</a>
      ${Object.entries(counts).sort().map(([status, count]) => html`<a class="tile" key=${status} href="#/volumes/status/${status}"><strong>${count}</strong><${Badge} status=${status} /></a>`)}
    </div>
    <div class="grid">
      <${Panel} title="Quota"><div class="usage">${LIMITS.map(([label, key, used, limit, unit]) => html`<${Usage} key=${key} label=${label} used=${data.limits[used] ?? 0} limit=${data.limits[limit] ?? -1} unit=${unit} />`)}</div><//>
      <${Panel} title="Under way">${moving.length ? moving.map(one => html`<p key=${one.id}><a href="#/requests/${one.id}">${one.action} ${one.resource_type}</a> <${Name} of=${one.resource_name} id=${one.resource_id} /> <span class="soft">since <${Time} at=${one.started_at} /></span></p>`) : html`<span class="soft">Nothing.</span>`}<//>
      <${Panel} title="Failed lately">${failed.length ? failed.map(one => html`<p key=${one.id}><a href="#/requests/${one.id}">${one.action} ${one.resource_type}</a> <${Name} of=${one.resource_name} id=${one.resource_id} /> <span class="soft"><${Time} at=${one.ended_at} /></span><br />${one.error}</p>`) : html`<span class="soft">Nothing.</span>`}<//>
      ${data.pools && html`<${Panel} title="Pools">${data.pools.map(pool => { const use = poolUse(pool); return html`<div key=${pool.name}><p class="soft mono">${pool.name}</p><div class="usage"><${Usage} label="Used" used=${rounded(use.used ?? 0)} limit=${use.known ? rounded(use.total) : -1} unit=" GiB" />
        <${Usage} label="Claimed" used=${rounded(use.claimed ?? 0)} limit=${use.known ? rounded(use.total) : -1} unit=" GiB" /></div></div>`; })}<//>`}
    </div>`;
}
