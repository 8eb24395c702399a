// All snapshots of the project.
import { all, listed } from './api.js';
import { known, snapshotForms } from './forms.js';
import { Actions, Badge, Name, Table, Time, html, isBusy, projectColumn, usePoll } from './ui.js';

async function read() {
  const [snapshots, volumes] = await Promise.all([all(listed('/snapshots/detail?limit=500'), 'snapshots'), all(listed('/volumes?limit=1000'), 'volumes', 1000)]);
  return { snapshots, names: new Map(volumes.map(one => [one.id, one.name])) };
}

export default function Snapshots() {
  const { data, error, again } = usePoll(read, found => found.snapshots.some(one => isBusy(one.status)));
  const facts = usePoll(known).data || {};
  const columns = [
    { key: 'name', label: 'Name', sort: row => row.name, of: row => html`<${Name} of=${row.name} id=${row.id} />` },
    { key: 'status', label: 'Status', sort: row => row.status, of: row => html`<${Badge} status=${row.status} />` },
    { key: 'size', label: 'GiB', number: true, sort: row => row.size, of: row => row.size },
    { key: 'volume', label: 'Volume', sort: row => data.names.get(row.volume_id), of: row => html`<${Name} of=${data.names.get(row.volume_id)} id=${row.volume_id} href="#/volumes/${row.volume_id}" />` },
    { key: 'created', label: 'Created', sort: row => row.created_at, of: row => html`<${Time} at=${row.created_at} />` },
    ...projectColumn(),
    { key: 'actions', label: 'Actions', of: row => html`<div class="actions"><${Actions} forms=${snapshotForms(row, facts)} onDone=${again} /></div>` },
  ];
  return html`<div class="heading"><h1>Snapshots</h1></div>
    <${Table} title="Snapshots" rows=${data?.snapshots} error=${error} columns=${columns} cli="openstack volume snapshot list --long" path=${listed('/snapshots/detail')} empty="This project has no snapshots. Create one on the page of a volume." />`;
}
