// The list of volumes, by pages of the service; one volume is in volume.js.
import { useState } from '../vendor/preact-hooks.js';
import { all, can, everywhere, get, listed } from './api.js';
import { acceptTransfer, createVolume, known } from './forms.js';
import { Actions, Badge, Name, Progress, Table, Time, html, isBusy, projectColumn, usePoll } from './ui.js';
import { Volume } from './volume.js';

const PAGE = 100;

export const COLUMNS = [
  { key: 'name', label: 'Name', sort: row => row.name, of: row => html`<${Name} of=${row.name} id=${row.id} href="#/volumes/${row.id}" />` },
  { key: 'status', label: 'Status', sort: row => row.status, of: row => html`<${Badge} status=${row.status} /><${Progress} of=${row['cinderless:progress']} />` },
  { key: 'size', label: 'GiB', number: true, sort: row => row.size, of: row => row.size },
  { key: 'volume_type', label: 'Type', of: row => row.volume_type },
  { key: 'availability_zone', label: 'Zone', sort: row => row.availability_zone, of: row => row.availability_zone },
  { key: 'attached', label: 'Attached to', of: row => row.attachments.map(one => one.host_name || one.server_id?.slice(0, 8) || 'a host').join(', ') || html`<span class="soft">–</span>` },
  { key: 'created_at', label: 'Created', sort: row => row.created_at, of: row => html`<${Time} at=${row.created_at} />` },
];

export default function Volumes({ rest }) {
  if (rest[0] && rest[0] !== 'status') return html`<${Volume} id=${rest[0]} />`;
  return html`<${List} status=${rest[1]} />`;
}

/** Volumes with a part of a name or id. The service filters by whole names, so all are read, and compared here. */
async function searched(text, status) {
  const wanted = text.toLowerCase();
  const found = await all(listed(`/volumes/detail?limit=1000${status ? `&status=${status}` : ''}`), 'volumes');
  return { volumes: found.filter(one => `${one.name}`.toLowerCase().includes(wanted) || one.id.startsWith(wanted)).slice(0, 200) };
}

function List({ status }) {
  const [order, setOrder] = useState({ key: 'created_at', down: true });
  const [search, setSearch] = useState('');
  const [markers, setMarkers] = useState([]);
  const words = new URLSearchParams({ limit: PAGE, sort: `${order.key}:${order.down ? 'desc' : 'asc'}` });
  if (status) words.set('status', status);
  if (markers.length) words.set('marker', markers.at(-1));
  const path = listed(`/volumes/detail?${words}`);
  const { data, error, again } = usePoll(() => (search ? searched(search, status) : get(path)), found => found.volumes.some(one => isBusy(one.status)), [path, search]);
  const facts = usePoll(known);
  const rows = data?.volumes;
  const first = () => setMarkers([]);
  const foot = html`<span>${rows ? `${rows.length} shown` : ''}${markers.length ? `, page ${markers.length + 1}` : ''}</span><span class="actions">
    <button disabled=${!markers.length} onClick=${() => setMarkers(old => old.slice(0, -1))}>Previous</button>
    <button disabled=${search || !rows || rows.length < PAGE} onClick=${() => setMarkers(old => [...old, rows.at(-1).id])}>Next</button></span>`;
  const cli = `openstack volume list --long --limit ${PAGE}${status ? ` --status ${status}` : ''}${everywhere.value ? ' --all-projects' : ''}`;
  return html`<div class="heading"><h1>Volumes${status ? `: ${status}` : ''}</h1><div class="actions">
      <label><span class="soft">Search </span><input type="search" value=${search} placeholder="Part of a name or id" onInput=${event => { setSearch(event.target.value); first(); }} /></label>
      ${status && html`<a class="button" href="#/volumes">Show all</a>`}
      ${can.write && html`<${Actions} forms=${[acceptTransfer(), createVolume(facts.data || {})]} onDone=${again} />`}</div></div>
    <${Table} title="Volumes" rows=${rows} error=${error} columns=${[...COLUMNS, ...projectColumn()]} order=${order} onOrder=${found => { setOrder(found); first(); }} foot=${foot} cli=${cli} path=${path}
      empty=${search || status ? 'No volume matches.' : can.write ? 'This project has no volumes yet: create the first one.' : 'This project has no volumes yet.'} />`;
}
