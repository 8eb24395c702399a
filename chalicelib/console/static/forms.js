// What can be done to a volume, snapshot or backup: each row says when, what it will do, its fields and its request.
import { useEffect, useState } from '../vendor/preact-hooks.js';
import { Refused, can, get, request } from './api.js';
import { html } from './ui.js';

const named = one => `“${one.name || one.id}”`;
/** The request of an action on a volume. */
const action = (volume, name, body) => ({ path: `/volumes/${volume.id}/action`, body: { [name]: body } });
const UUID = '[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}';
const whole = text => Number.parseInt(text, 10);
const NAME = { name: 'name', label: 'Name', max_length: 255 };
const IDLE = ['available', 'error'];

/** Where the scheduler would place what the form describes, while one types. */
export function DryRun({ values }) {
  const [found, setFound] = useState(null);
  const body = JSON.stringify(volumeOf(values));
  useEffect(() => {
    let over = false;
    const timer = setTimeout(async () => {
      if (!(whole(values.size) > 0)) { setFound(null); return; }
      try {
        const answer = await request('/volumes?dry_run=1', { method: 'POST', body: JSON.parse(body) });
        if (!over) setFound({ placement: answer.body.placement });
      } catch (error) { if (!over && error instanceof Refused) setFound({ error }); }
    }, 400);
    return () => { over = true; clearTimeout(timer); };
  }, [body]);
  if (!found) return html`<p class="notice soft" role="status">The placement is shown here when a size is given.</p>`;
  if (found.error) return html`<p class="notice bad" role="status">${found.error.message}</p>`;
  const { candidates, removed } = found.placement;
  if (!candidates.length) {
    return html`<div class="notice bad" role="status">No pool can take this volume.${removed.map(one => html`<div>${one.filter}: ${one.reason}</div>`)}</div>`;
  }
  return html`<p class="notice" role="status">${candidates.length} pool${candidates.length === 1 ? '' : 's'} can take this volume${candidates[0].host ? html`; the first choice is <code>${candidates[0].host}</code>` : ''}.</p>`;
}

export function volumeOf(values) {
  const volume = { size: values.size ? whole(values.size) : undefined };
  for (const key of ['name', 'description', 'volume_type', 'availability_zone', 'snapshot_id', 'source_volid', 'backup_id']) if (values[key]) volume[key] = values[key];
  if (values.multiattach) volume.multiattach = true;
  return { volume };
}

const none = label => ({ value: '', label });

export function createVolume({ types = [], zones = [], limits = {} }, preset = {}) {
  const left = limits.maxTotalVolumeGigabytes < 0 ? '' : ` ${limits.maxTotalVolumeGigabytes - limits.totalGigabytesUsed} GiB of your quota are left.`;
  const from = preset.snapshot_id || preset.source_volid;
  return {
    key: 'create', label: preset.label || 'Create volume', title: preset.label || 'Create a volume', button: 'Create', look: preset.look || 'primary', aside: DryRun,
    what: from ? 'The new volume begins as a copy of this data; later changes of either do not reach the other.' : 'A new volume is empty.',
    fields: [
      NAME,
      { name: 'size', label: 'Size in GiB', type: 'number', min: preset.size || 1, required: true, value: preset.size || 1, hint: `Whole GiB; it can grow later, and never shrink.${left}` },
      { name: 'volume_type', label: 'Volume type', options: [none('Default'), ...types.map(one => ({ value: one.name, label: one.description ? `${one.name}: ${one.description}` : one.name }))] },
      { name: 'availability_zone', label: 'Availability zone', options: [none('Default'), ...zones.map(one => ({ value: one.zoneName, label: one.zoneName }))] },
      { name: 'description', label: 'Description', type: 'text-area', max_length: 255 },
    ],
    sends: values => ({ path: '/volumes', body: volumeOf({ ...preset, ...values, label: undefined }) }),
    done: values => `Accepted: create ${values.name || 'a volume'}.`,
  };
}

export function acceptTransfer() {
  return {
    key: 'accept', label: 'Accept a transfer', title: 'Accept a transfer', button: 'Accept',
    what: 'The volume becomes your project’s, with its snapshots if they were offered. It counts against your quota.',
    fields: [{ name: 'id', label: 'Transfer id', required: true, pattern: UUID }, { name: 'key', label: 'Authorization key', required: true, type: 'password' }],
    sends: values => ({ path: `/volume-transfers/${values.id}/accept`, body: { accept: { auth_key: values.key } } }),
    done: 'The volume is yours.',
  };
}

const VOLUME_FORMS = [
  volume => volume.status !== 'awaiting-transfer' && {
    key: 'backup', label: 'Back up', title: `Back up ${named(volume)}`, button: 'Back up', look: 'primary',
    what: values => `A point-in-time copy of the volume goes to the backup repository. ${values.incremental ? 'Only what changed since the last backup is stored.' : 'All of its data is stored; blocks that the repository has already are not stored again.'}`,
    when: ['available', 'in-use'],
    fields: [NAME, { name: 'incremental', label: 'Incremental', type: 'check' }],
    sends: values => ({ path: '/backups', body: { backup: { volume_id: volume.id, name: values.name || null, incremental: Boolean(values.incremental), force: volume.status === 'in-use' } } }),
    done: 'Accepted: back up.',
  },
  volume => ({
    key: 'snapshot', label: 'Snapshot', title: `Snapshot of ${named(volume)}`, button: 'Create snapshot', when: ['available', 'in-use'],
    what: 'The backend keeps the volume’s data as it is now. A snapshot is no backup: it is lost with its backend.',
    fields: [NAME, { name: 'description', label: 'Description' }],
    sends: values => ({ path: '/snapshots', body: { snapshot: { volume_id: volume.id, name: values.name || null, description: values.description || null, force: true } } }),
    done: 'Accepted: create a snapshot.',
  }),
  volume => ({
    key: 'extend', label: 'Extend', title: `Extend ${named(volume)}`, button: 'Extend', when: ['available', 'in-use'],
    what: 'The volume grows; it cannot shrink again. The file system in it is yours to grow.',
    fields: [{ name: 'new_size', label: 'New size in GiB', type: 'number', min: volume.size + 1, required: true, value: volume.size + 1, hint: `Now ${volume.size} GiB.` }],
    sends: values => action(volume, 'os-extend', { new_size: whole(values.new_size) }),
    done: values => `Accepted: extend to ${values.new_size} GiB.`,
  }),
  (volume, { types = [] }) => ({
    key: 'retype', label: 'Retype', title: `Change the type of ${named(volume)}`, button: 'Retype', when: ['available', 'in-use'],
    what: values => `Where its backend cannot change it in place, ${values.policy === 'on-demand' ? 'the data is copied to another pool.' : 'nothing is done.'} Undo: retype back to ${volume.volume_type}.`,
    fields: [
      { name: 'new_type', label: 'New type', required: true, options: [none('Choose…'), ...types.filter(one => one.name !== volume.volume_type).map(one => ({ value: one.name, label: one.name }))] },
      { name: 'policy', label: 'If it cannot stay', value: 'on-demand', options: [{ value: 'on-demand', label: 'Copy the data' }, { value: 'never', label: 'Do nothing' }] },
    ],
    sends: values => action(volume, 'os-retype', { new_type: values.new_type, migration_policy: values.policy }),
    done: 'Accepted: retype.',
  }),
  volume => ({
    key: 'transfer', label: 'Transfer', title: `Offer ${named(volume)} to another project`, button: 'Offer', when: ['available'],
    what: 'The volume can be accepted with the id and key that are shown next, once. Until then it stays yours. Undo: cancel the transfer on this page.',
    fields: [NAME],
    sends: values => ({ path: '/volume-transfers', body: { transfer: { volume_id: volume.id, name: values.name || null } } }),
    done: 'The volume is offered.',
    then: ({ body }) => volume.offered?.(body.transfer),
  }),
  volume => ({
    key: 'edit', label: 'Rename', title: 'Change name and description', button: 'Save',
    fields: [{ ...NAME, value: volume.name }, { name: 'description', label: 'Description', type: 'text-area', value: volume.description }],
    what: 'Only the name and the description change; the data and the id stay.',
    sends: values => ({ path: `/volumes/${volume.id}`, method: 'PUT', body: { volume: { name: values.name, description: values.description } } }),
    done: 'Saved.',
  }),
  volume => can.admin && {
    key: 'migrate', label: 'Migrate', title: `Move ${named(volume)} to another pool`, button: 'Migrate', when: ['available', 'in-use'],
    what: 'The data is copied to the other pool, and removed here afterwards. The volume keeps its id.',
    fields: [{ name: 'host', label: 'Pool', required: true, hint: 'host@backend#pool' }],
    sends: values => action(volume, 'os-migrate_volume', { host: values.host }),
    done: 'Accepted: migrate.',
  },
  volume => can.admin && {
    key: 'reset', label: 'Reset status', title: `Reset the status of ${named(volume)}`, button: 'Reset', danger: true,
    what: 'The record is changed, whatever the backend says: what is under way is given up and its reservations are released. Use it only where the reconciler cannot help.',
    fields: [{ name: 'status', label: 'Status', value: 'available', options: ['available', 'in-use', 'error', 'error_deleting'].map(one => ({ value: one, label: one })) }],
    sends: values => action(volume, 'os-reset_status', { status: values.status }),
    done: 'The status is reset.',
  },
  volume => ({
    key: 'delete', label: 'Delete', title: `Delete ${named(volume)}`, button: 'Delete permanently', danger: true, when: [...IDLE, 'error_restoring', 'error_extending', 'error_deleting', 'error_managing'],
    what: `The volume and its ${volume.size} GiB of data are removed. There is no undo: what you keep is in its backups.`,
    fields: [{ name: 'cascade', label: 'Delete its snapshots, too', type: 'check' }],
    sends: values => ({ path: `/volumes/${volume.id}${values.cascade ? '?cascade=true' : ''}`, method: 'DELETE' }),
    done: 'Accepted: delete.',
  }),
];

const allowed = (forms, status) => (can.write ? forms.filter(form => form && (!form.when || form.when.includes(status))) : []);

export const volumeForms = (volume, known = {}) => allowed(VOLUME_FORMS.map(make => make(volume, known)), volume.status);

export const snapshotForms = (snapshot, known = {}) => allowed([
  { ...createVolume(known, { snapshot_id: snapshot.id, size: snapshot.size, label: 'Create volume', look: 'plain' }), key: 'clone', when: ['available'] },
  {
    key: 'revert', label: 'Revert', title: `Revert the volume to ${named(snapshot)}`, button: 'Revert', danger: true, when: ['available'],
    what: 'The volume’s data becomes what it was at this snapshot. What was written since is lost. Only the newest snapshot of a detached volume can be used.',
    sends: () => ({ path: `/volumes/${snapshot.volume_id}/action`, body: { revert: { snapshot_id: snapshot.id } } }),
    done: 'Accepted: revert.',
  },
  {
    key: 'delete', label: 'Delete', title: `Delete snapshot ${named(snapshot)}`, button: 'Delete permanently', danger: true, when: [...IDLE, 'error_deleting'],
    what: 'The snapshot is removed; the volume stays as it is. There is no undo.',
    sends: () => ({ path: `/snapshots/${snapshot.id}`, method: 'DELETE' }),
    done: 'Accepted: delete.',
  },
], snapshot.status);

export const backupForms = (backup, { volumes = [] } = {}) => allowed([
  {
    key: 'restore', label: 'Restore', title: `Restore ${named(backup)}`, button: 'Restore', look: 'primary', when: ['available'],
    what: values => (values.volume_id ? 'All data of the chosen volume is replaced by the backup’s. There is no undo, except an earlier backup of it.' : `A new volume of ${backup.size} GiB is made, with the data of the backup.`),
    fields: [
      { name: 'volume_id', label: 'Restore to', options: [none('A new volume'), ...volumes.filter(one => one.status === 'available' && one.size >= backup.size).map(one => ({ value: one.id, label: `${one.name || one.id} (${one.size} GiB): its data is replaced` }))] },
      { ...NAME, hint: 'Of the new volume.' },
    ],
    sends: values => ({ path: `/backups/${backup.id}/restore`, body: { restore: values.volume_id ? { volume_id: values.volume_id } : { name: values.name || `restored-${backup.name || backup.id}` } } }),
    done: 'Accepted: restore.',
  },
  {
    key: 'drill', label: 'Drill', title: `Restore drill of ${named(backup)}`, button: 'Begin the drill', when: ['available'],
    what: 'The backup is restored to a scratch volume, compared, and the scratch volume is removed. The backup stays as it is. It needs quota and capacity for one more volume of its size.',
    sends: () => ({ path: `/backups/${backup.id}/action`, body: { 'cinderless:drill': {} } }),
    done: 'Accepted: drill.',
  },
  {
    key: 'scrub', label: 'Scrub', title: `Scrub ${named(backup)}`, button: 'Begin the scrub', when: ['available'],
    what: 'The stored blocks are read and verified. Nothing is changed.',
    fields: [{ name: 'sample', label: 'Percent of the blocks', type: 'number', min: 1, max: 100, value: 100, required: true }],
    sends: values => ({ path: `/backups/${backup.id}/action`, body: { 'cinderless:scrub': { sample: whole(values.sample) } } }),
    done: 'Accepted: scrub.',
  },
  {
    key: 'copy', label: 'Copy', title: `Copy ${named(backup)} to another place`, button: 'Copy', when: ['available'],
    what: 'A second backup with the same data is made in the target that your administrator configured.',
    fields: [{ name: 'target', label: 'Target', required: true, hint: 'Its name in the configuration.' }],
    sends: values => ({ path: `/backups/${backup.id}/action`, body: { 'cinderless:copy': { target: values.target } } }),
    done: 'Accepted: copy.',
  },
  {
    key: 'delete', label: 'Delete', title: `Delete backup ${named(backup)}`, button: 'Delete permanently', danger: true, when: IDLE,
    what: 'The backup is removed. Incremental backups that were made from it stay whole. There is no undo.',
    sends: () => ({ path: `/backups/${backup.id}`, method: 'DELETE' }),
    done: 'Accepted: delete.',
  },
], backup.status);

/** What the forms offer: types, zones and limits; what may not be read is left out. */
export async function known() {
  const [types, zones, limits] = await Promise.all([get('/types'), get('/os-availability-zone'), get('/limits')]);
  return { types: types.volume_types, zones: zones.availabilityZoneInfo, limits: limits.limits.absolute };
}
