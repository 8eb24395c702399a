// For administrators: the quota of this project, with what is used and reserved.
import { get, session } from './api.js';
import { Actions, Table, html, usePoll } from './ui.js';

const change = row => ({
  key: 'change', label: 'Change', title: `Change the limit of ${row.id}`, button: 'Save', what: `${row.in_use} are in use. -1 means no limit.`,
  fields: [{ name: 'limit', label: 'Limit', type: 'number', min: -1, required: true, value: row.limit }],
  sends: values => ({ path: `/os-quota-sets/${session.value.projectId}`, method: 'PUT', body: { quota_set: { [row.id]: Number(values.limit) } } }),
  done: 'The quota is changed.',
});

export default function Quotas() {
  const { projectId, project } = session.value;
  const path = `/os-quota-sets/${projectId}?usage=True`;
  const { data, error, again } = usePoll(() => get(path));
  const rows = data && Object.entries(data.quota_set).filter(([name]) => name !== 'id').map(([name, facts]) => ({ id: name, ...facts })).sort((one, other) => one.id.localeCompare(other.id));
  const columns = [
    { key: 'id', label: 'Resource', sort: row => row.id, of: row => row.id },
    { key: 'used', label: 'In use', number: true, sort: row => row.in_use, of: row => row.in_use },
    { key: 'reserved', label: 'Reserved', number: true, of: row => row.reserved },
    { key: 'limit', label: 'Limit', number: true, sort: row => row.limit, of: row => (row.limit < 0 ? 'none' : row.limit) },
    { key: 'actions', label: 'Actions', of: row => html`<div class="actions"><${Actions} forms=${[change(row)]} onDone=${again} /></div>` },
  ];
  return html`<div class="heading"><div><h1>Quotas</h1><span class="soft">Project ${project}</span></div></div>
    <${Table} title="Quotas" rows=${rows} error=${error} columns=${columns} cli="openstack quota show --volume ${projectId}" path=${path} />`;
}
