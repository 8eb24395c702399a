// How well each volume is protected: last backup, its age against the schedule, chain, checks; all backups; schedules.
import { all, can, get, listed } from './api.js';
import { backupForms } from './forms.js';
import { Actions, Badge, Copies, Facts, Failure, Name, Panel, Progress, Table, Time, ago, date, html, isBusy, usePoll } from './ui.js';
import { BACKUPS } from './volume.js';
import { OPERATION_COLUMNS } from './requests.js';

async function read() {
  const [volumes, backups, schedules] = await Promise.all([all(listed('/volumes/detail?limit=1000'), 'volumes', 1000), all(listed('/backups/detail?limit=500'), 'backups', 2000), get(listed('/backup-schedules'))]);
  return { volumes, backups, schedules: schedules.backup_schedules };
}

/** The state of a check, a scrub or a drill, in words. */
function Check({ of }) {
  if (!of) return html`<span class="soft">never</span>`;
  return html`<${Badge} status=${of.status || of.result} /> <${Time} at=${of.finished_at || of.at || of.checked_at} />`;
}

export function protectionOf({ volumes, backups, schedules }) {
  return volumes.map(volume => {
    const own = backups.filter(one => one.volume_id === volume.id && one.status === 'available').sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
    const schedule = schedules.find(one => one.volume_id === volume.id);
    const last = own[0];
    const late = schedule?.enabled && schedule.next_run_at && date(schedule.next_run_at) < new Date(Date.now() - 600000);
    const copies = own.filter(one => one['cinderless:copied_from']).length;
    const state = !last ? 'unprotected' : schedule?.last_error ? 'failed' : late ? 'overdue' : 'protected';
    return { id: volume.id, volume, last, schedule, own, copies, state };
  });
}

const TONES = { unprotected: 'bad', failed: 'bad', overdue: 'busy', protected: 'good' };

const COLUMNS = [
  { key: 'name', label: 'Volume', sort: row => row.volume.name, of: row => html`<${Name} of=${row.volume.name} id=${row.id} href="#/volumes/${row.id}" />` },
  { key: 'state', label: 'Protection', sort: row => row.state, of: row => html`<span class="badge ${TONES[row.state]}">${row.state}</span>` },
  { key: 'last', label: 'Last backup', sort: row => row.last?.created_at, of: row => (row.last ? html`<a href="#/protection/${row.last.id}"><${Time} at=${row.last.created_at} /></a>` : html`<span class="soft">none</span>`) },
  { key: 'count', label: 'Backups', number: true, sort: row => row.own.length, of: row => `${row.own.length} (${row.own.filter(one => one.is_incremental).length} incr.)` },
  { key: 'copies', label: 'Copies', number: true, sort: row => row.copies, of: row => row.copies },
  { key: 'locked', label: 'Locked until', of: row => html`<${Time} at=${row.last?.['cinderless:locked_until']} />` },
  { key: 'scrub', label: 'Last scrub', of: row => html`<${Check} of=${row.own.find(one => one['cinderless:scrub'])?.['cinderless:scrub']} />` },
  { key: 'drill', label: 'Last drill', of: row => html`<${Check} of=${row.own.find(one => one['cinderless:drill'])?.['cinderless:drill']} />` },
  { key: 'next', label: 'Next by schedule', of: row => (row.schedule ? html`${row.schedule.enabled ? html`<${Time} at=${row.schedule.next_run_at} />` : 'paused'} <code>${row.schedule.cron}</code>` : html`<span class="soft">no schedule</span>`) },
];

const scheduleForm = volumes => ({
  key: 'schedule', label: 'New schedule', title: 'Back up on a schedule', button: 'Create schedule', look: 'primary',
  what: 'The volume is backed up at these times, and older backups are removed as far as you choose.',
  fields: [
    { name: 'volume_id', label: 'Volume', required: true, options: [{ value: '', label: 'Choose…' }, ...volumes.map(one => ({ value: one.id, label: one.name || one.id }))] },
    { name: 'cron', label: 'Times', required: true, value: '0 3 * * *', hint: 'Five cron fields, in UTC: minute, hour, day, month, weekday.' },
    { name: 'daily', label: 'Daily backups to keep', type: 'number', min: 0, max: 1000, value: 7 },
    { name: 'full_every', label: 'Every n-th is a full one', type: 'number', min: 0, max: 1000, value: 7 },
  ],
  sends: values => ({ path: '/backup-schedules', body: { backup_schedule: { volume_id: values.volume_id, cron: values.cron, keep: { daily: Number(values.daily) }, full_every: Number(values.full_every) } } }),
  done: 'The schedule is in force.',
});

const removeSchedule = one => ({
  key: 'remove', label: 'Remove', title: 'Remove the schedule', button: 'Remove', danger: true, what: 'No more backups are made by it. The existing ones stay.',
  sends: () => ({ path: `/backup-schedules/${one.id}`, method: 'DELETE' }),
  done: 'The schedule is removed.',
});

const pauseSchedule = one => ({
  key: 'pause', label: one.enabled ? 'Pause' : 'Resume', title: one.enabled ? 'Pause the schedule' : 'Resume the schedule', button: one.enabled ? 'Pause' : 'Resume',
  what: one.enabled ? 'No backups are made by it until it is resumed. The existing ones stay.' : 'The volume is backed up again at the next of its times.',
  sends: () => ({ path: `/backup-schedules/${one.id}`, method: 'PUT', body: { backup_schedule: { enabled: !one.enabled } } }),
  done: one.enabled ? 'The schedule is paused.' : 'The schedule is resumed.',
});

export default function Protection({ rest }) {
  return rest[0] ? html`<${Backup} id=${rest[0]} />` : html`<${All} />`;
}

function All() {
  const { data, error, again } = usePoll(read, found => found.backups.some(one => isBusy(one.status)));
  const schedules = [
    { key: 'volume', label: 'Volume', of: row => html`<${Name} of=${data?.volumes.find(one => one.id === row.volume_id)?.name} id=${row.volume_id} href="#/volumes/${row.volume_id}" />` },
    { key: 'cron', label: 'Times (UTC)', of: row => html`<code>${row.cron}</code>` },
    { key: 'next', label: 'Next', sort: row => row.next_run_at, of: row => (row.enabled ? html`<${Time} at=${row.next_run_at} />` : 'paused') },
    { key: 'keep', label: 'Keeps', of: row => Object.entries(row.keep || {}).map(([name, count]) => `${count} ${name}`).join(', ') },
    { key: 'error', label: 'Last error', of: row => row.last_error || html`<span class="soft">–</span>` },
    { key: 'actions', label: 'Actions', of: row => can.write && html`<div class="actions"><${Actions} forms=${[pauseSchedule(row), removeSchedule(row)]} onDone=${again} /></div>` },
  ];
  const rows = data && protectionOf(data);
  const bare = rows?.filter(one => one.state === 'unprotected').length;
  return html`<div class="heading"><h1>Backups</h1><div class="actions">${can.write && data && html`<${Actions} forms=${[scheduleForm(data.volumes)]} onDone=${again} />`}</div></div>
    ${rows && html`<p class="notice ${bare ? 'busy' : ''}">${bare ? `${bare} of ${rows.length} volumes have no backup.` : rows.length ? 'Every volume has a backup.' : 'There are no volumes to protect.'}</p>`}
    <${Table} title="Protection" rows=${rows} error=${error} columns=${COLUMNS} path="/backups/detail" cli="openstack volume backup list --long" empty="This project has no volumes." />
    <${Table} title="All backups" rows=${data?.backups} columns=${BACKUPS({ volumes: data?.volumes }, again)} path="/backups/detail" cli="openstack volume backup list --long" empty="This project has no backups." />
    <${Table} title="Schedules" rows=${data?.schedules} columns=${schedules} path="/backup-schedules" empty="No volume is backed up on a schedule." />`;
}

async function readOne(id) {
  const [backup, operations, volumes] = await Promise.all([get(`/backups/${id}?progress=1`), get(`/operations?resource_id=${id}&limit=20`), get('/volumes/detail?limit=1000')]);
  return { backup: backup.backup, operations: operations.operations, volumes: volumes.volumes };
}

function Backup({ id }) {
  const { data, error, again } = usePoll(() => readOne(id), found => isBusy(found.backup.status) || found.operations.some(one => one.status === 'running'), [id]);
  if (!data) return html`<${Failure} error=${error} />${!error && html`<p class="soft" role="status">Loading…</p>`}`;
  const { backup } = data;
  return html`<div class="heading"><div><h1 dir="auto">${backup.name || backup.id}</h1><span><${Badge} status=${backup.status} /> <span class="soft">${backup.is_incremental ? 'incremental' : 'full'} backup, ${backup.size} GiB</span></span></div>
      <div class="actions"><${Actions} forms=${backupForms(backup, data)} onDone=${again} /></div></div>
    <${Failure} error=${error} />
    ${backup.fail_reason && html`<p class="notice bad">${backup.fail_reason}</p>`}
    <${Progress} of=${backup['cinderless:progress']} />
    <${Panel} title="Facts" extra=${html`<${Copies} cli="openstack volume backup show ${id}" path="/backups/${id}" />`}><${Facts} of=${[
      ['Id', html`<code>${backup.id}</code>`], ['Volume', html`<${Name} of=${data.volumes.find(one => one.id === backup.volume_id)?.name} id=${backup.volume_id} href="#/volumes/${backup.volume_id}" />`], backup.is_incremental && ['Changes since', 'the backup before it'], ['Created', html`<${Time} at=${backup.created_at} />`],
      ['Data of', html`<${Time} at=${backup.data_timestamp} />`], ['Stored objects', backup.object_count], ['Dependent backups', backup.has_dependent_backups ? 'yes' : 'no'],
      ['Locked until', html`<${Time} at=${backup['cinderless:locked_until']} />`], ['Last scrub', html`<${Check} of=${backup['cinderless:scrub']} />`], ['Last drill', html`<${Check} of=${backup['cinderless:drill']} />`],
    ]} /><//>
    <${Table} title="History" rows=${data.operations} columns=${OPERATION_COLUMNS} path="/operations?resource_id=${id}" empty="No requests in the last 30 days." />`;
}
