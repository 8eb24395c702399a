// What each accepted request became: the list, and one request as a waterfall of its steps.
import { useState } from '../vendor/preact-hooks.js';
import { can, get, listed, refusals, session } from './api.js';
import { Badge, Copies, Facts, Failure, Name, Panel, Progress, Table, Time, date, html, many, projectColumn, seconds, usePoll } from './ui.js';

const PAGE = 50;

/** The page of an operation's resource. */
export const link = one => ({ volume: `#/volumes/${one.resource_id}`, backup: `#/protection/${one.resource_id}` })[one.resource_type];

export const OPERATION_COLUMNS = [
  { key: 'action', label: 'Request', sort: row => row.action, of: row => html`<a class="nobreak" href="#/requests/${row.id}">${row.action.replaceAll('_', ' ')} ${row.resource_type.replaceAll('_', ' ')}</a>` },
  { key: 'status', label: 'Status', sort: row => row.status, of: row => html`<${Badge} status=${row.status} />` },
  { key: 'resource', label: 'Resource', of: row => html`<${Name} of=${row.resource_name} id=${row.resource_id} href=${link(row)} />` },
  { key: 'started', label: 'Started', sort: row => row.started_at, of: row => html`<${Time} at=${row.started_at} />` },
  { key: 'took', label: 'Took', number: true, of: row => (row.ended_at ? seconds(date(row.ended_at) - date(row.started_at)) : html`<span class="soft">runs</span>`) },
  { key: 'error', label: 'Error', of: row => (row.error ? html`<span class="reason">${row.error}</span>` : html`<span class="soft">–</span>`) },
];

export default function Requests({ rest }) {
  return rest[0] ? html`<${Request} id=${rest[0]} />` : html`<${List} />`;
}

function List() {
  const [filters, setFilters] = useState({ status: '', resource_type: '' });
  const [markers, setMarkers] = useState([]);
  const words = new URLSearchParams({ limit: PAGE });
  for (const [name, value] of Object.entries(filters)) if (value) words.set(name, value);
  if (markers.length) words.set('marker', markers.at(-1));
  const path = listed(`/operations?${words}`);
  const { data, error } = usePoll(() => get(path), found => found.operations.some(one => one.status === 'running'), [path]);
  const rows = data?.operations;
  const choice = (name, label, options) => html`<label><span class="soft">${label} </span><select value=${filters[name]} onChange=${event => { setMarkers([]); setFilters(old => ({ ...old, [name]: event.target.value })); }}>
    <option value="">all</option>${options.map(one => html`<option value=${one}>${one.replaceAll('_', ' ')}</option>`)}</select></label>`;
  const foot = html`<span>${rows ? `${rows.length} shown` : ''}</span><span class="actions"><button disabled=${!markers.length} onClick=${() => setMarkers(old => old.slice(0, -1))}>Newer</button>
    <button disabled=${!rows || rows.length < PAGE} onClick=${() => setMarkers(old => [...old, rows.at(-1).id])}>Older</button></span>`;
  return html`<div class="heading"><h1>Requests</h1><div class="actions">${choice('status', 'Status', ['running', 'succeeded', 'failed'])}${choice('resource_type', 'Resource', ['volume', 'attachment', 'snapshot', 'backup', 'transfer', 'group', 'group_snapshot', 'volume_type'])}</div></div>
    <${Table} title="Requests" rows=${rows} error=${error} columns=${[...OPERATION_COLUMNS, ...projectColumn()]} foot=${foot} cli=${can.admin && 'cinderless history'} path=${path} empty="No requests in the last 30 days." />`;
}

/** Start and width in percent of the whole, of a span of time. */
function placed(from, to, begin, whole) {
  const left = (100 * (from - begin)) / whole;
  return { x: `${Math.min(left, 99.4)}%`, width: `${Math.max((100 * (to - from)) / whole, 0.6)}%` };
}

function Line({ label, from, to, begin, whole, kind, took }) {
  const bar = placed(from, to, begin, whole);
  return html`<div class="line"><span>${label}</span><svg role="img" aria-label=${`${label}: ${took}`} preserveAspectRatio="none"><rect class="wait" x="0" y="45%" width="100%" height="10%" /><rect class=${kind} x=${bar.x} width=${bar.width} y="10%" height="80%" rx="2" /></svg><span class="took">${took}</span></div>`;
}

const words = name => name.replace(/([a-z])([A-Z])/g, '$1 $2');

/** Whether the API carried a request out itself: no workflow gave its resource a final status. */
const isQuick = operation => Boolean(operation.ended_at) && !operation.resource_status;

export function Waterfall({ operation }) {
  const begin = date(operation.started_at);
  const now = new Date();
  const times = operation.steps.flatMap(step => [date(step.started_at), step.ended_at ? date(step.ended_at) : now]);
  const end = new Date(Math.max(...times, operation.ended_at ? date(operation.ended_at) : now, +begin + 1));
  const whole = end - begin;
  const line = (label, from, to, kind) => html`<${Line} label=${label} from=${from} to=${to} begin=${begin} whole=${whole} kind=${kind} took=${seconds(Math.max(to - from, 0))} />`;
  const first = operation.steps[0];
  return html`<div class="waterfall">
    ${line(first || !operation.ended_at ? 'Accepted by the API, queued' : 'From accepted to ended', begin, first ? date(first.started_at) : operation.ended_at ? date(operation.ended_at) : now, 'wait')}
    ${operation.steps.map((step, place) => {
      const to = step.ended_at ? date(step.ended_at) : operation.ended_at ? date(operation.ended_at) : now;
      const kind = step.failures.length ? 'bad' : step.ended_at ? 'good' : 'busy';
      const label = `${words(step.name)}${step.failures.length ? `, ${step.failures.length} failed attempt${step.failures.length > 1 ? 's' : ''}` : ''}`;
      return html`<div key=${place}>${line(label, date(step.started_at), to, kind)}
        ${step.failures.map(one => html`<div class="failure">${one.error}${one.cause && html`<br /><code>${one.cause}</code>`}</div>`)}</div>`;
    })}
    ${!operation.steps.length && html`<p class="soft">${operation.status === 'running' ? 'The work is queued. Its steps appear when its state machine has started.' : isQuick(operation) ? 'The API carried this out itself: it was complete with its response.' : 'The steps are no longer known.'}</p>`}
  </div>`;
}

/** A request without an operation: what this tab knows of it. */
function Unaccepted({ id }) {
  const known = refusals().find(one => one.id === id);
  if (!known) return html`<h1>Request</h1><p class="notice">There is no operation of request <code>${id}</code>. It was a read, it was refused before any work was accepted, or it is older than 30 days.</p>`;
  const took = seconds(known.ended - known.began);
  return html`<div class="heading"><div><h1>Refused request</h1><span><${Badge} status="failed" /> <span class="soft">nothing was changed</span></span></div></div>
    <p class="notice bad">${known.message}</p>
    <${Panel} title="Steps"><div class="waterfall"><${Line} label="Sent by this page" from=${known.began} to=${known.ended} begin=${known.began} whole=${known.ended - known.began || 1} kind="wait" took=${took} />
      <${Line} label="Refused by the API" from=${known.ended} to=${known.ended} begin=${known.began} whole=${known.ended - known.began || 1} kind="bad" took=${String(known.status)} /><div class="failure">${known.message}</div></div><//>
    <${Panel} title="Facts" extra=${can.admin && html`<${Copies} cli="cinderless history ${id}" />`}><${Facts} of=${[['Request', html`<code>${id}</code>`], ['Sent', html`<code>${known.method} ${known.path}</code>`], ['Status', known.status], ['At', html`<${Time} at=${new Date(known.ended).toISOString()} whole />`]]} /><//>`;
}

function Request({ id }) {
  const { data, error } = usePoll(() => get(`/operations/${id}`), found => found.operation.status === 'running', [id]);
  if (!data) {
    if (error?.status === 404) return html`<${Unaccepted} id=${id} />`;
    return html`<${Failure} error=${error} />${!error && html`<p class="soft" role="status">Loading…</p>`}`;
  }
  const one = data.operation;
  return html`<div class="heading"><div><h1 class="sentence">${one.action.replaceAll('_', ' ')} ${one.resource_type.replaceAll('_', ' ')}</h1><span><${Badge} status=${one.status} /> ${one.step && html`<span class="soft">in ${words(one.step)}</span>`}</span></div></div>
    <${Failure} error=${error} />
    ${one.error && html`<p class="notice bad">${one.error}</p>`}
    <${Progress} of=${one.progress} />
    <${Panel} title="Steps" extra=${html`<${Copies} cli=${can.admin && `cinderless history ${id}`} path="/operations/${id}" />`}><${Waterfall} operation=${one} /><//>
    <div class="grid"><${Panel} title="Facts"><${Facts} of=${[
      ['Request', html`<code>${one.id}</code>`], ['Resource', html`<${Name} of=${one.resource_name} id=${one.resource_id} href=${link(one)} />`], ['Resource id', html`<code>${one.resource_id}</code>`],
      one.resource_status && ['Ended with status', html`<${Badge} status=${one.resource_status} />`], ['User', one.user_id === session.value.userId ? `${session.value.user} (you)` : html`<code>${one.user_id}</code>`], ['Started', html`<${Time} at=${one.started_at} whole />`], ['Ended', html`<${Time} at=${one.ended_at} whole />`], one.ended_at && ['Took', seconds(date(one.ended_at) - date(one.started_at))],
    ]} /><//>
    ${can.admin && html`<${Panel} title="For administrators"><${Facts} of=${[
      ['Pool', one.host && html`<code>${one.host}</code>`], ['Cause', one.cause && html`<code>${one.cause}</code>`],
      ['Pools tried before', one.tried?.length ? one.tried.map(tried => html`<div><code>${tried.host}</code> ${tried.error}: ${tried.reason}</div>`) : 'none'],
      ['Effort', one.effort?.state_transitions ? `${many(one.effort.state_transitions, 'state transition')}, ${many(one.effort.invocations, 'invocation')}, ${seconds(one.effort.task_seconds * 1000)} of functions: about $${one.effort.dollars.toFixed(6)}` : isQuick(one) ? 'no workflow' : null], ['Scheduler', one.why && html`<pre>${one.why}</pre>`], ['Trace', one.trace && html`<code>${one.trace}</code>`], ['Log lines', html`<code>cinderless history ${one.id}</code>`],
    ]} /><//>`}</div>`;
}
