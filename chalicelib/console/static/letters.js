// For administrators: messages that the work queue gave up, and their way back.
import { get } from './api.js';
import { Actions, Name, Table, Time, html, many, usePoll } from './ui.js';

const redrive = count => ({
  key: 'redrive', label: 'Send again', title: 'Send the dead letters again', button: 'Send again', look: 'primary',
  what: `${many(count, 'message')} ${count === 1 ? 'moves' : 'move'} back to the work queue. Work that was done meanwhile is not repeated; events of scheduled functions are dropped, since their next run does the same. Fix the cause first, or they return.`,
  sends: () => ({ path: '/os-services/dead-letters', body: {} }),
  done: 'The messages were sent again.',
});

const COLUMNS = [
  { key: 'what', label: 'Message', of: row => (row.kind === 'work' ? `${row.action} ${row.resource}`.replaceAll('_', ' ') : 'event of a scheduled function') },
  { key: 'request', label: 'Request', of: row => (row.request_id ? html`<a href="#/requests/${row.request_id}"><code>${row.request_id}</code></a>` : html`<span class="soft">–</span>`) },
  { key: 'resource', label: 'Resource', of: row => (row.id ? html`<${Name} of=${row.id} href=${row.resource === 'volume' ? `#/volumes/${row.id}` : undefined} />` : html`<span class="soft">–</span>`) },
  { key: 'project', label: 'Project', of: row => (row.project_id ? html`<code>${row.project_id}</code>` : html`<span class="soft">–</span>`) },
  { key: 'sent', label: 'Sent', sort: row => row.sent_at, of: row => html`<${Time} at=${row.sent_at} />` },
];

export default function Letters() {
  const { data, error, again } = usePoll(() => get('/os-services/dead-letters'));
  return html`<div class="heading"><div><h1>Dead letters</h1><span class="soft">Work that did not begin after five tries. The reconciler restarts or ends it within minutes.</span></div>
      <div class="actions">${data?.count > 0 && html`<${Actions} forms=${[redrive(data.count)]} onDone=${again} />`}</div></div>
    <${Table} title="Dead letters" rows=${data?.dead_letters} error=${error} columns=${COLUMNS} keyOf=${row => row.message_id} foot=${data?.count > data?.dead_letters.length && html`<span>${data.dead_letters.length} of about ${data.count} shown</span>`}
      path="/os-services/dead-letters" empty="None: all accepted work has begun." />`;
}
