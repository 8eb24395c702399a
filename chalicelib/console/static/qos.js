// For administrators: QoS specs, and the volume types that use them.
import { get } from './api.js';
import { Actions, Name, Table, html, usePoll } from './ui.js';
import { pairs } from './types.js';

async function read() {
  const [specs, types] = await Promise.all([get('/qos-specs'), get('/types?is_public=None')]);
  return { specs: specs.qos_specs, types: types.volume_types };
}

const CONSUMERS = [['back-end', 'Backend: the storage limits'], ['front-end', 'Front end: the hypervisor limits'], ['both', 'Both']];
const EXAMPLE = 'One a line: key=value, such as total_iops_sec=500 or total_bytes_sec=104857600.';

const create = {
  key: 'create', label: 'Create QoS specs', title: 'Create QoS specs', button: 'Create', look: 'primary',
  what: 'Nothing is limited until a volume type uses the specs.',
  fields: [
    { name: 'name', label: 'Name', required: true, max_length: 255 },
    { name: 'consumer', label: 'Enforced by', value: 'back-end', options: CONSUMERS.map(([value, label]) => ({ value, label })) },
    { name: 'specs', label: 'Specs', type: 'text-area', hint: EXAMPLE },
  ],
  sends: values => ({ path: '/qos-specs', body: { qos_specs: { ...pairs(values.specs), name: values.name, consumer: values.consumer } } }),
  done: 'The QoS specs are created.',
};

const change = one => ({
  key: 'change', label: 'Change', title: `Change “${one.name}”`, button: 'Save', what: 'Attachments that are made from now on get the new values. A key that is left out stays as it is.',
  fields: [{ name: 'specs', label: 'Specs', type: 'text-area', required: true, hint: EXAMPLE, value: Object.entries(one.specs).map(([key, value]) => `${key}=${value}`).join('\n') }],
  sends: values => ({ path: `/qos-specs/${one.id}`, method: 'PUT', body: { qos_specs: pairs(values.specs) } }),
  done: 'The QoS specs are changed.',
});

const associate = (one, types) => ({
  key: 'associate', label: 'Use for a type', title: `Use “${one.name}” for a volume type`, button: 'Use', what: 'Volumes of the type get these specs with their next attachment. Undo: end the use.',
  fields: [{ name: 'type', label: 'Volume type', required: true, options: [{ value: '', label: 'Choose…' }, ...types.filter(type => type.qos_specs_id !== one.id).map(type => ({ value: type.id, label: type.name }))] }],
  sends: values => ({ path: `/qos-specs/${one.id}/associate?vol_type_id=${values.type}`, method: 'GET' }),
  done: 'The type uses the QoS specs.',
});

const end = (one, users) => users.length > 0 && {
  key: 'end', label: 'End the use', title: `End the use of “${one.name}”`, button: 'End the use', what: 'Volumes of the type have no limits from the next attachment on.',
  fields: [{ name: 'type', label: 'Volume type', required: true, value: users[0].id, options: users.map(type => ({ value: type.id, label: type.name })) }],
  sends: values => ({ path: `/qos-specs/${one.id}/disassociate?vol_type_id=${values.type}`, method: 'GET' }),
  done: 'The type no longer uses the QoS specs.',
};

const remove = one => ({
  key: 'delete', label: 'Delete', title: `Delete “${one.name}”`, button: 'Delete', danger: true, what: 'The specs are removed, unless a volume type uses them.',
  sends: () => ({ path: `/qos-specs/${one.id}`, method: 'DELETE' }),
  done: 'The QoS specs are deleted.',
});

export default function Qos() {
  const { data, error, again } = usePoll(read);
  const users = one => data.types.filter(type => type.qos_specs_id === one.id);
  const columns = [
    { key: 'name', label: 'Name', sort: row => row.name, of: row => html`<${Name} of=${row.name} id=${row.id} />` },
    { key: 'consumer', label: 'Enforced by', of: row => row.consumer },
    { key: 'specs', label: 'Specs', of: row => Object.entries(row.specs).map(([key, value]) => html`<div key=${key}><code>${key}=${value}</code></div>`) },
    { key: 'types', label: 'Volume types', of: row => users(row).map(type => type.name).join(', ') || html`<span class="soft">none</span>` },
    { key: 'actions', label: 'Actions', of: row => html`<div class="actions"><${Actions} forms=${[change(row), associate(row, data.types), end(row, users(row)), remove(row)]} onDone=${again} /></div>` },
  ];
  return html`<div class="heading"><div><h1>QoS specs</h1><span class="soft">Limits of volumes, by their types</span></div><div class="actions"><${Actions} forms=${[create]} onDone=${again} /></div></div>
    <${Table} title="QoS specs" rows=${data?.specs} error=${error} columns=${columns} cli="openstack volume qos list" path="/qos-specs" empty="There are no QoS specs: no type has limits." />`;
}
