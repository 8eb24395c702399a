// One volume: facts, attachments with what a host needs to connect, snapshots, backups, lineage, history, and actions.
import { useState } from '../vendor/preact-hooks.js';
import { can, get, quoted, request } from './api.js';
import { backupForms, known, snapshotForms, volumeForms } from './forms.js';
import { Actions, Badge, Copies, Dialog, Facts, Failure, Name, Panel, Progress, Table, Time, html, isBusy, usePoll } from './ui.js';
import { OPERATION_COLUMNS } from './requests.js';

async function read(id) {
  const [volume, snapshots, backups, attachments, operations, transfers] = await Promise.all([
    get(`/volumes/${id}?progress=1`), get(`/snapshots/detail?volume_id=${id}`), get(`/backups/detail?volume_id=${id}`),
    get(`/attachments/detail?volume_id=${id}`), get('/operations?limit=200'), get(`/volume-transfers/detail?volume_id=${id}`),
  ]);
  // What was requested of the volume itself, and of its snapshots and backups.
  const own = new Set([id, ...[...snapshots.snapshots, ...backups.backups].map(one => one.id)]);
  return {
    volume: volume.volume, snapshots: snapshots.snapshots, backups: backups.backups, attachments: attachments.attachments,
    operations: operations.operations.filter(one => own.has(one.resource_id)).slice(0, 30), transfers: transfers.transfers,
  };
}

const busy = found => [found.volume, ...found.snapshots, ...found.backups].some(one => isBusy(one.status));

const attachForm = volume => ({
  key: 'attach', label: 'Attach', title: 'Attach to a host', button: 'Attach', when: ['available', 'in-use'],
  what: 'The backend lets this host, and no other, connect to the volume. The page then shows target, account and commands.',
  fields: [
    { name: 'host', label: 'Host name', required: true, hint: 'Of the machine that will use the volume.' },
    { name: 'initiator', label: 'Initiator (IQN)', required: true, pattern: '(iqn|eui|naa)\\..+', hint: 'On the host: cat /etc/iscsi/initiatorname.iscsi' },
    { name: 'ip', label: 'IP address of the host', required: true, value: ['127.0.0.1', 'localhost'].includes(location.hostname) ? '127.0.0.1' : '', hint: 'From which it connects to the backend.' },
    { name: 'mode', label: 'Access', value: 'rw', options: [{ value: 'rw', label: 'Read and write' }, { value: 'ro', label: 'Read only' }] },
  ],
  sends: values => ({ path: '/attachments', body: { attachment: { volume_uuid: volume.id, connector: { host: values.host, initiator: values.initiator, ip: values.ip, multipath: false }, mode: values.mode } } }),
  done: 'Attached: the host may connect now.',
  then: ({ body }) => request(`/attachments/${body.attachment.id}/action`, { method: 'POST', body: { 'os-complete': {} } }),
});

const detachForm = one => ({
  key: 'detach', label: 'Detach', title: 'Detach from the host', button: 'Detach', danger: true,
  what: 'The host can no longer reach the volume. Unmount it there first: what the host has not written yet is lost. Undo: attach it again.',
  sends: () => ({ path: `/attachments/${one.id}`, method: 'DELETE' }),
  done: 'Detached.',
});

function Attachment({ one, onDone }) {
  const [shown, setShown] = useState(false);
  const info = one.connection_info || {};
  const data = info.data || info;
  const portal = data.target_portal;
  const commands = portal && [
    `iscsiadm -m node -o new -T ${quoted(data.target_iqn)} -p ${portal}`,
    ...(data.auth_username ? [`iscsiadm -m node -T ${quoted(data.target_iqn)} -p ${portal} -o update -n node.session.auth.authmethod -v CHAP`,
      `iscsiadm -m node -T ${quoted(data.target_iqn)} -p ${portal} -o update -n node.session.auth.username -v ${quoted(data.auth_username)}`,
      `iscsiadm -m node -T ${quoted(data.target_iqn)} -p ${portal} -o update -n node.session.auth.password -v "$CHAP_PASSWORD"`] : []),
    `iscsiadm -m node -T ${quoted(data.target_iqn)} -p ${portal} --login`,
  ].join('\n');
  return html`<div class="panel"><header><h2><${Name} of=${one.connector?.host || one.instance || 'Attachment'} id=${one.id} /> <${Badge} status=${one.status} /></h2>
      ${can.write && html`<div class="actions"><${Actions} forms=${[detachForm(one)]} onDone=${onDone} /></div>`}</header>
    <div class="body"><${Facts} of=${[
      ['Access', one.attach_mode === 'ro' ? 'read only' : 'read and write'],
      ['Since', html`<${Time} at=${one.attached_at} />`],
      portal && ['Portal', html`<code data-fact="portal">${portal}</code>`],
      data.target_iqn && ['Target', html`<code data-fact="target">${data.target_iqn}</code>`],
      portal && ['LUN', html`<code data-fact="lun">${data.target_lun}</code>`],
      data.device_path && ['Device', html`<code>${data.device_path}</code>`],
      data.auth_username && ['CHAP user', html`<code data-fact="user">${data.auth_username}</code>`],
      data.auth_password && ['CHAP password', shown ? html`<code data-fact="password">${data.auth_password}</code>` : html`<button type="button" onClick=${() => setShown(true)}>Show the password</button>`],
    ]} />${commands && html`<details><summary>Commands for the host</summary><pre>${commands}</pre></details>`}</div></div>`;
}

const SNAPSHOTS = (facts, onDone) => [
  { key: 'name', label: 'Name', sort: row => row.name, of: row => html`<${Name} of=${row.name} id=${row.id} />` },
  { key: 'status', label: 'Status', sort: row => row.status, of: row => html`<${Badge} status=${row.status} />` },
  { key: 'size', label: 'GiB', number: true, of: row => row.size },
  { key: 'created', label: 'Created', sort: row => row.created_at, of: row => html`<${Time} at=${row.created_at} />` },
  { key: 'actions', label: 'Actions', of: row => html`<div class="actions"><${Actions} forms=${snapshotForms(row, facts)} onDone=${onDone} /></div>` },
];

export const BACKUPS = (facts, onDone) => [
  { key: 'name', label: 'Name', sort: row => row.name, of: row => html`<${Name} of=${row.name} id=${row.id} href="#/protection/${row.id}" />` },
  { key: 'status', label: 'Status', sort: row => row.status, of: row => html`<${Badge} status=${row.status} /><${Progress} of=${row['cinderless:progress']} />` },
  { key: 'kind', label: 'Kind', of: row => (row.is_incremental ? 'incremental' : 'full') },
  { key: 'size', label: 'GiB', number: true, of: row => row.size },
  { key: 'created', label: 'Created', sort: row => row.created_at, of: row => html`<${Time} at=${row.created_at} />` },
  { key: 'actions', label: 'Actions', of: row => html`<div class="actions"><${Actions} forms=${backupForms(row, facts)} onDone=${onDone} /></div>` },
];

function Lineage({ volume, snapshots, backups }) {
  const from = volume.snapshot_id ? `snapshot ${volume.snapshot_id}` : volume.source_volid ? html`volume <a href="#/volumes/${volume.source_volid}">${volume.source_volid}</a>` : volume.backup_id ? html`backup <a href="#/protection/${volume.backup_id}">${volume.backup_id}</a>` : null;
  return html`<${Panel} title="Lineage"><ul class="lineage">${from && html`<li>made from ${from}</li>`}<li><strong><${Name} of=${volume.name} id=${volume.id} /></strong>
    <ul class="lineage">${snapshots.map(one => html`<li key=${one.id}>snapshot <${Name} of=${one.name} id=${one.id} /></li>`)}${backups.map(one => html`<li key=${one.id}>backup <a href="#/protection/${one.id}"><${Name} of=${one.name} id=${one.id} /></a>${one.is_incremental ? ' (incremental)' : ''}</li>`)}
    ${!snapshots.length && !backups.length && html`<li class="soft">no snapshots and no backups</li>`}</ul></li></ul><//>`;
}

const cancelForm = one => ({
  key: 'cancel', label: 'Cancel the transfer', title: 'Cancel the transfer', button: 'Cancel it', what: 'The volume stays in this project; the key becomes worthless.',
  sends: () => ({ path: `/volume-transfers/${one.id}`, method: 'DELETE' }),
  done: 'The transfer is cancelled.',
});

export function Volume({ id }) {
  const { data, error, again } = usePoll(() => read(id), busy, [id]);
  const facts = usePoll(known).data || {};
  const [offer, setOffer] = useState(null);
  if (!data) return html`<${Failure} error=${error} />${!error && html`<p class="soft" role="status">Loading…</p>`}`;
  const { volume } = data;
  const forms = volumeForms({ ...volume, offered: setOffer }, facts);
  const attach = can.write && (volume.status === 'available' || (volume.status === 'in-use' && volume.multiattach));
  return html`<div class="heading"><div><h1 dir="auto">${volume.name || volume.id}</h1><span><${Badge} status=${volume.status} /> <span class="soft">${volume.size} GiB, ${volume.volume_type}</span></span></div>
      <div class="actions"><${Actions} forms=${[attach && attachForm(volume), ...forms]} onDone=${again} /></div></div>
    <${Failure} error=${error} />
    ${error?.status === 404 && html`<p class="notice">The volume is gone. <a href="#/volumes">Back to the list</a></p>`}
    <${Progress} of=${volume['cinderless:progress']} />
    <div class="grid">
      <${Panel} title="Facts" extra=${html`<${Copies} cli="openstack volume show ${id}" path="/volumes/${id}" />`}><${Facts} of=${[
        ['Id', html`<code>${volume.id}</code>`], ['Description', volume.description && html`<span class="name" dir="auto">${volume.description}</span>`], ['Zone', volume.availability_zone], ['Type', volume.volume_type],
        ['Bootable', volume.bootable], ['Encrypted', volume.encrypted ? 'yes' : 'no'], ['Several hosts', volume.multiattach ? 'allowed' : 'no'],
        volume['os-vol-host-attr:host'] && ['Pool', html`<code>${volume['os-vol-host-attr:host']}</code>`], ['Created', html`<${Time} at=${volume.created_at} />`],
        ...Object.entries(volume.metadata).map(([key, value]) => [html`<span dir="auto">${key}</span>`, html`<span dir="auto">${value}</span>`]),
      ]} /><//>
      <${Lineage} volume=${volume} snapshots=${data.snapshots} backups=${data.backups} />
    </div>
    ${data.transfers.map(one => html`<div class="notice busy" key=${one.id}>Offered to another project as transfer <code>${one.id}</code>. ${can.write && html`<${Actions} forms=${[cancelForm(one)]} onDone=${again} />`}</div>`)}
    ${data.attachments.map(one => html`<${Attachment} key=${one.id} one=${one} onDone=${again} />`)}
    <${Table} title="Snapshots" rows=${data.snapshots} columns=${SNAPSHOTS(facts, again)} cli="openstack volume snapshot list --volume ${id}" path="/snapshots/detail?volume_id=${id}" empty="No snapshots." />
    <${Table} title="Backups" rows=${data.backups} columns=${BACKUPS({ volumes: [volume] }, again)} cli="openstack volume backup list --volume ${id}" path="/backups/detail?volume_id=${id}" empty="No backups: what is lost with the backend is lost." />
    <${Table} title="History" rows=${data.operations} columns=${OPERATION_COLUMNS} cli=${can.admin && `cinderless history ${id}`} path="/operations?resource_id=${id}" empty="Not among the last 200 requests of the project." />
    ${offer && html`<${Dialog} title="Transfer" onClose=${() => setOffer(null)}><form onSubmit=${event => { event.preventDefault(); setOffer(null); }}><h2>The volume is offered</h2>
      <p class="notice">Give these two to the other project. The key is shown only now.</p><${Facts} of=${[['Transfer id', html`<code>${offer.id}</code>`], ['Authorization key', html`<code>${offer.auth_key}</code>`]]} />
      <div class="row"><button class="primary">I have noted them</button></div></form><//>`}`;
}
