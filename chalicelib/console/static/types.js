// For administrators: volume types with their extra specs.
import { get } from './api.js';
import { Actions, Name, Table, html, usePoll } from './ui.js';

/** Lines of key=value as an object. */
export const pairs = text => Object.fromEntries(text.split('\n').map(line => line.trim()).filter(Boolean).map(line => { const [key, ...rest] = line.split('='); return [key.trim(), rest.join('=').trim()]; }));

const create = () => ({
  key: 'create', label: 'Create type', title: 'Create a volume type', button: 'Create', look: 'primary', what: 'Extra specs choose the pools on which volumes of the type are placed.',
  fields: [{ name: 'name', label: 'Name', required: true, max_length: 255 }, { name: 'description', label: 'Description', max_length: 255 }, { name: 'specs', label: 'Extra specs', type: 'text-area', hint: 'One a line: key=value' }, { name: 'private', label: 'Private: only for projects that are given access', type: 'check' }],
  sends: values => ({ path: '/types', body: { volume_type: { name: values.name, description: values.description || null, 'os-volume-type-access:is_public': !values.private, extra_specs: pairs(values.specs) } } }),
  done: 'The type is created.',
});

const remove = one => ({
  key: 'delete', label: 'Delete', title: `Delete type “${one.name}”`, button: 'Delete', danger: true, what: 'The type is removed, unless a volume uses it.',
  sends: () => ({ path: `/types/${one.id}`, method: 'DELETE' }),
  done: 'The type is deleted.',
});

export default function Types() {
  const { data, error, again } = usePoll(() => get('/types?is_public=None'));
  const columns = [
    { key: 'name', label: 'Name', sort: row => row.name, of: row => html`<${Name} of=${row.name} id=${row.id} />` },
    { key: 'description', label: 'Description', of: row => row.description || html`<span class="soft">–</span>` },
    { key: 'public', label: 'Public', of: row => (row.is_public ? 'yes' : 'no') },
    { key: 'specs', label: 'Extra specs', of: row => Object.entries(row.extra_specs || {}).map(([key, value]) => html`<div><code>${key}=${value}</code></div>`) },
    { key: 'actions', label: 'Actions', of: row => html`<div class="actions"><${Actions} forms=${[remove(row)]} onDone=${again} /></div>` },
  ];
  return html`<div class="heading"><h1>Volume types</h1><div class="actions"><${Actions} forms=${[create()]} onDone=${again} /></div></div>
    <${Table} title="Volume types" rows=${data?.volume_types} error=${error} columns=${columns} cli="openstack volume type list --long" path="/types?is_public=None" empty="There are no types yet: the default one is made with the first volume." />`;
}
