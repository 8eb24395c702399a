// For administrators: services with enable and disable, pools, and what the reconciler found on backends.
import { get } from './api.js';
import { Actions, Badge, Panel, Table, Time, html, usePoll } from './ui.js';
import { poolUse, rounded } from './overview.js';

async function read() {
  const [services, pools, reports] = await Promise.all([get('/os-services'), get('/scheduler-stats/get_pools?detail=true'), get('/os-services/reconciliation')]);
  return { services: services.services, pools: pools.pools, reports: reports.reconciliations };
}

const toggle = one => (one.status === 'enabled'
  ? { key: 'off', label: 'Disable', title: `Disable ${one.host}`, button: 'Disable', danger: true, what: 'The scheduler places nothing new there. What is there stays usable. Undo: enable it.',
    fields: [{ name: 'reason', label: 'Reason', required: true, max_length: 255 }],
    sends: values => ({ path: '/os-services/disable-log-reason', method: 'PUT', body: { host: one.host, binary: one.binary, disabled_reason: values.reason } }), done: 'Disabled.' }
  : { key: 'on', label: 'Enable', title: `Enable ${one.host}`, button: 'Enable', what: 'The scheduler places volumes there again.',
    sends: () => ({ path: '/os-services/enable', method: 'PUT', body: { host: one.host, binary: one.binary } }), done: 'Enabled.' });

const SERVICES = again => [
  { key: 'binary', label: 'Service', sort: row => row.binary, of: row => row.binary },
  { key: 'host', label: 'Host', sort: row => row.host, of: row => html`<code>${row.host}</code>` },
  { key: 'zone', label: 'Zone', of: row => row.zone },
  { key: 'state', label: 'State', sort: row => row.state, of: row => html`<${Badge} status=${row.state} />` },
  { key: 'status', label: 'Status', of: row => html`<${Badge} status=${row.status} /> ${row.disabled_reason || ''}` },
  { key: 'updated', label: 'Last report', of: row => html`<${Time} at=${row.updated_at} />` },
  { key: 'actions', label: 'Actions', of: row => (row.binary === 'cinder-volume' ? html`<div class="actions"><${Actions} forms=${[toggle(row)]} onDone=${again} /></div>` : '') },
];

const POOLS = [
  { key: 'name', label: 'Pool', sort: row => row.name, of: row => html`<code>${row.name}</code>` },
  { key: 'total', label: 'Total GiB', number: true, sort: row => poolUse(row).total, of: row => rounded(poolUse(row).total) },
  { key: 'used', label: 'Used GiB', number: true, of: row => rounded(poolUse(row).used) },
  { key: 'claimed', label: 'Claimed GiB', number: true, of: row => rounded(poolUse(row).claimed) },
  { key: 'free', label: 'Free GiB', number: true, of: row => rounded(poolUse(row).free) },
  { key: 'thin', label: 'Over-subscription', number: true, of: row => row.capabilities.max_over_subscription_ratio ?? '–' },
  { key: 'protocol', label: 'Protocol', of: row => row.capabilities.storage_protocol || '–' },
];

const REPORTS = [
  { key: 'host', label: 'Backend', of: row => html`<code>${row.host}</code>` },
  { key: 'at', label: 'Compared', of: row => html`<${Time} at=${row.at} />` },
  { key: 'objects', label: 'Objects', number: true, of: row => row.objects },
  { key: 'exports', label: 'Exports', number: true, of: row => row.exports },
  { key: 'unknown', label: 'Orphans', number: true, of: row => row.unknown_count },
  { key: 'differences', label: 'Differences', number: true, of: row => row.differences.length },
  { key: 'stopped', label: 'Stopped by', of: row => row.stopped || html`<span class="soft">–</span>` },
];

export default function Services() {
  const { data, error, again } = usePoll(read);
  return html`<div class="heading"><h1>Services and pools</h1></div>
    <${Table} title="Services" rows=${data?.services} error=${error} columns=${SERVICES(again)} keyOf=${row => `${row.binary} ${row.host}`} cli="openstack volume service list" path="/os-services" />
    <${Table} title="Pools" rows=${data?.pools} columns=${POOLS} keyOf=${row => row.name} cli="openstack volume backend pool list --long" path="/scheduler-stats/get_pools?detail=true" />
    <${Table} title="Backends compared with the records" rows=${data?.reports} columns=${REPORTS} keyOf=${row => row.host} path="/os-services/reconciliation" empty="No backend was compared yet." />`;
}
