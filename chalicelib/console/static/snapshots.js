// All snapshots of the project.
import { all, get } from './api.js';
import { known, snapshotForms } from './forms.js';
import { Actions, Badge, Name, Table, Time, html, isBusy, usePoll } from './ui.js';

export default function Snapshots() {
  const { data, error, again } = usePoll(() => all('/snapshots/detail?limit=500', 'snapshots'), found => found.some(one => isBusy(one.status)));
  const facts = usePoll(known).data || {};
  const columns = [
    { key: 'name', label: 'Name', sort: row => row.name, of: row => html`<${Name} of=${row.name} id=${row.id} />` },
    { key: 'status', label: 'Status', sort: row => row.status, of: row => html`<${Badge} status=${row.status} />` },
    { key: 'size', label: 'GiB', number: true, sort: row => row.size, of: row => row.size },
    { key: 'volume', label: 'Volume', of: row => html`<a href="#/volumes/${row.volume_id}">${row.volume_id.slice(0, 8)}</a>` },
    { key: 'created', label: 'Created', sort: row => row.created_at, of: row => html`<${Time} at=${row.created_at} />` },
    { key: 'actions', label: 'Actions', of: row => html`<div class="actions"><${Actions} forms=${snapshotForms(row, facts)} onDone=${again} /></div>` },
  ];
  return html`<div class="heading"><h1>Snapshots</h1></div>
    <${Table} title="Snapshots" rows=${data} error=${error} columns=${columns} cli="openstack volume snapshot list --long" path="/snapshots/detail" empty="This project has no snapshots." />`;
}
