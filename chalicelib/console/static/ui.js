// Parts that every screen uses. All text is set as text nodes (htm and Preact never parse it), so names cannot be markup.
import { html } from '../vendor/htm-preact.js';
import { useCallback, useEffect, useRef, useState } from '../vendor/preact-hooks.js';
import { Refused, can, curl, everywhere, dismiss, request, toast, toasts } from './api.js';

export { html };

const BUSY = /ing($|-)|^downloading|retyping|maintenance|awaiting/;
const BAD = /error|failed|down|disabled/;
const GOOD = /^(available|in-use|succeeded|attached|up|enabled|ok|passed|clean)$/;

export const tone = status => (BAD.test(status) ? 'bad' : GOOD.test(status) ? 'good' : BUSY.test(status) ? 'busy' : '');
export const isBusy = status => tone(status || '') === 'busy';

export const Badge = ({ status }) => html`<span class="badge ${tone(status || '')}">${status || 'unknown'}</span>`;

/** A name as a user wrote it: isolated, so that right-to-left text does not reorder what follows. */
export const Name = ({ of, id, href }) => {
  const text = of || id?.slice(0, 8) || '(no name)';
  return href ? html`<a class="name" dir="auto" href=${href} title=${of || id}>${text}</a>` : html`<span class="name" dir="auto">${text}</span>`;
};

export const date = text => (text ? new Date(/Z|[+-]\d\d:?\d\d$/.test(text) ? text : `${text}Z`) : null);

export function ago(text) {
  const moment = date(text);
  if (!moment) return '–';
  const seconds = Math.round((Date.now() - moment) / 1000);
  for (const [unit, size] of [['d', 86400], ['h', 3600], ['min', 60]]) {
    if (Math.abs(seconds) >= size) { const count = `${Math.round(Math.abs(seconds) / size)} ${unit}`; return seconds < 0 ? `in ${count}` : `${count} ago`; }
  }
  return seconds < 0 ? `in ${-seconds} s` : seconds < 5 ? 'just now' : `${seconds} s ago`;
}

/** A moment, as a distance from now; the whole date with `whole`, and on pointing at it. */
export const Time = ({ at, whole }) => (at ? html`<time datetime=${date(at).toISOString()} title=${date(at).toLocaleString()}>${ago(at)}${whole && html` <span class="soft">(${date(at).toLocaleString()})</span>`}</time>` : html`<span class="soft">–</span>`);

export function size(bytes) {
  if (bytes == null) return '–';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let place = 0;
  for (; bytes >= 1024 && place < units.length - 1; place += 1) bytes /= 1024;
  return `${bytes.toFixed(bytes >= 100 || place === 0 ? 0 : 1)} ${units[place]}`;
}

/** A count with its noun. */
export const many = (count, noun) => `${count} ${noun}${count === 1 ? '' : 's'}`;

export function seconds(milliseconds) {
  const value = milliseconds / 1000;
  return value < 60 ? `${value.toFixed(value < 10 ? 2 : 1)} s` : `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
}

export function Progress({ of }) {
  if (!of) return null;
  const percent = of.bytes_total ? Math.floor((100 * of.bytes_done) / of.bytes_total) : 0;
  const left = of.seconds_left == null ? '' : `, about ${of.seconds_left} s left`;
  const text = `${percent} %: ${size(of.bytes_done)} of ${size(of.bytes_total)}, ${size(of.bytes_per_second)}/s${left}`;
  return html`<div><progress max="100" value=${percent} aria-label="Bytes copied" /><span class="soft">${text}</span></div>`;
}

/** A column of the owner, where lists show all projects. */
export const projectColumn = () => (can.admin && everywhere.value ? [{ key: 'project', label: 'Project', of: row => html`<code>${row['os-vol-tenant-attr:tenant_id'] || row['os-extended-snapshot-attributes:project_id'] || row['os-backup-project-attr:project_id'] || row.project_id || '–'}</code>` }] : []);

export const Usage = ({ label, used, limit, unit = '' }) => {
  const open = limit < 0 || limit == null;
  return html`<span>${label}</span><progress max=${open ? Math.max(used, 1) : Math.max(limit, 1)} value=${open ? 0 : Math.min(used, limit)} aria-label=${label} />
    <span class="soft">${used}${open ? ', no limit' : ` of ${limit}`}${unit}</span>`;
};

/** What a failed request says, with its id, which is also the id of its operation. */
export const Failure = ({ error, apart }) => {
  if (!error) return null;
  const id = error.requestId;
  // From a dialog, another tab opens: what is filled in must stay. It is of the same session, so it needs the opener.
  const place = apart ? { target: '_blank', rel: 'opener' } : {};
  return html`<p class="notice bad" role="alert">${error.message}${id && html` <span class="mono">(${error.status}, <a href="#/requests/${id}" ...${place}>${id}</a>)</span>`}</p>`;
};

/**
 * Read now, and again while the page is open: soon while `busy(found)`, then less and less often, up to a minute; not
 * while the page is hidden. Returns {data, error, again}.
 */
export function usePoll(read, busy = () => false, deps = []) {
  const [state, setState] = useState({ data: null, error: null });
  const kept = useRef({});
  const again = useCallback(() => kept.current.now?.(), []);
  useEffect(() => {
    let timer = 0, over = false, pause = 2000, running = false;
    const later = () => { clearTimeout(timer); if (!over) timer = setTimeout(run, pause); };
    async function run() {
      if (over || running) return;
      if (document.hidden) { pause = 4000; later(); return; }
      running = true;
      try {
        const data = await read();
        if (!over) setState({ data, error: null });
        pause = busy(data) ? Math.min(pause * 1.15, 5000) : Math.min(Math.max(pause, 6000) * 1.5, 60000);
      } catch (error) {
        if (!(error instanceof Refused)) console.error(error);
        if (!over) setState(old => ({ ...old, error }));
        pause = Math.min(pause * 2, 60000);
      }
      running = false;
      later();
    }
    const woken = () => { if (!document.hidden) { pause = 2000; run(); } };
    kept.current.now = () => { pause = 1000; return run(); };
    document.addEventListener('visibilitychange', woken);
    run();
    return () => { over = true; clearTimeout(timer); document.removeEventListener('visibilitychange', woken); };
  }, deps);
  return { ...state, again };
}

export function Panel({ title, extra, children, bare }) {
  return html`<section class="panel" aria-label=${title}><header><h2>${title}</h2>${extra && html`<div class="actions">${extra}</div>`}</header>${bare ? children : html`<div class="body">${children}</div>`}</section>`;
}

async function copied(text, what) {
  try { await navigator.clipboard.writeText(text); toast(`${what} copied: ${text.slice(0, 90)}${text.length > 90 ? '…' : ''}`); } catch { window.prompt(what, text); }
}

/** Buttons that copy what shows the same in a terminal. */
export const Copies = ({ cli, path }) => html`
  ${cli && html`<button type="button" class="quiet" onClick=${() => copied(cli, 'CLI command')} title=${cli}>Copy as CLI</button>`}
  ${path && html`<button type="button" class="quiet" onClick=${() => copied(curl(path), 'curl command')}>Copy as curl</button>`}`;

/**
 * columns: [{key, label, of(row) -> content, sort(row) -> value, number}]. Sorted here, or by the caller (`order`, `onOrder`).
 */
export function Table({ title, rows, columns, extra, cli, path, empty = 'Nothing here yet.', error, foot, order, onOrder, keyOf = row => row.id }) {
  const [own, setOwn] = useState(null);
  const current = onOrder ? order : own;
  const choose = key => (onOrder || setOwn)({ key, down: current?.key === key ? !current.down : false });
  const column = !onOrder && current && columns.find(one => one.key === current.key);
  let shown = rows || [];
  if (column) {
    shown = [...shown].sort((one, other) => compared(column.sort(one), column.sort(other)) * (current.down ? -1 : 1));
  }
  const header = one => (one.sort
    ? html`<th scope="col" key=${one.key} class=${one.number ? 'number' : ''} aria-sort=${current?.key === one.key ? (current.down ? 'descending' : 'ascending') : 'none'}>
        <button type="button" onClick=${() => choose(one.key)}>${one.label}${current?.key === one.key ? (current.down ? ' ↓' : ' ↑') : ''}</button></th>`
    : html`<th scope="col" key=${one.key} class=${one.number ? 'number' : ''}>${one.label}</th>`);
  return html`<${Panel} bare title=${title} extra=${html`${extra}<${Copies} cli=${cli} path=${path} />`}>
    ${error && html`<div class="body"><${Failure} error=${error} /></div>`}
    ${!rows && !error && html`<div class="body soft" role="status">Loading…</div>`}
    ${rows && !rows.length && html`<div class="body soft">${empty}</div>`}
    ${rows && rows.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label=${`Table: ${title}`}><table><thead><tr>${columns.map(header)}</tr></thead>
      <tbody>${shown.map(row => html`<tr key=${keyOf(row)}>${columns.map(one => html`<td key=${one.key} class=${one.number ? 'number' : ''}>${one.of(row)}</td>`)}</tr>`)}</tbody></table></div>`}
    ${foot && html`<div class="foot">${foot}</div>`}
  <//>`;
}

function compared(one, other) {
  if (typeof one === 'number' && typeof other === 'number') return one - other;
  return String(one ?? '').localeCompare(String(other ?? ''));
}

/** A modal dialog: the browser keeps the focus in it, and Escape closes it. */
export function Dialog({ title, onClose, children, locked }) {
  const place = useRef(null);
  useEffect(() => { const box = place.current; box.showModal(); return () => box.close(); }, []);
  // A browser may close it without asking: a dialog that must be answered opens again.
  const closed = () => { if (locked) place.current?.showModal(); else if (place.current) onClose(false); };
  return html`<dialog ref=${place} aria-label=${title} onClose=${closed} onCancel=${event => { event.preventDefault(); if (!locked) onClose(); }}>${children}</dialog>`;
}

export function Field({ spec, value, onChange, id }) {
  const hint = spec.hint && html`<span class="hint" id="${id}-hint">${spec.hint}</span>`;
  const common = { id, name: spec.name, required: spec.required, 'aria-describedby': spec.hint ? `${id}-hint` : undefined, autocomplete: spec.autocomplete || 'off' };
  if (spec.type === 'check') {
    return html`<div class="field check"><label><input ...${common} type="checkbox" checked=${Boolean(value)} onChange=${event => onChange(event.target.checked)} /><span>${spec.label}</span></label>${hint}</div>`;
  }
  let control;
  if (spec.options) {
    control = html`<select ...${common} value=${value ?? ''} onChange=${event => onChange(event.target.value)}>${spec.options.map(one => html`<option value=${one.value} selected=${String(one.value) === String(value ?? '')}>${one.label}</option>`)}</select>`;
  } else if (spec.type === 'text-area') {
    control = html`<textarea ...${common} rows="3" value=${value ?? ''} onInput=${event => onChange(event.target.value)} />`;
  } else {
    control = html`<input ...${common} type=${spec.type || 'text'} value=${value ?? ''} min=${spec.min} max=${spec.max} maxlength=${spec.max_length} pattern=${spec.pattern} placeholder=${spec.placeholder} onInput=${event => onChange(event.target.value)} />`;
  }
  return html`<div class="field"><label for=${id}><span>${spec.label}</span></label>${control}${hint}</div>`;
}

/** The same body without what must not reach a shell's history. */
const concealed = body => JSON.parse(JSON.stringify(body, (name, value) => (name === 'auth_key' ? '...' : value)));

/** Send what a form describes, and show that it was accepted. */
async function carriedOut({ sends, done, then }, values) {
  const { path, method = 'POST', body } = sends(values);
  const answer = await request(path, { method, body });
  await then?.(answer, values);
  if (done) toast(typeof done === 'function' ? done(values) : done, answer.requestId);
}

/**
 * A dialog from a table: {title, what, fields, button, danger, sends(values) -> {path, method, body}, done, then(answer),
 * aside(values)}. A refused request leaves the form as it was filled. The request can be copied before it is sent.
 */
export function FormDialog({ form, onClose }) {
  const initial = Object.fromEntries((form.fields || []).map(one => [one.name, one.value ?? '']));
  const [values, setValues] = useState(initial);
  const [error, setError] = useState(null);
  const [sending, setSending] = useState(false);
  async function send(event) {
    event.preventDefault();
    setSending(true); setError(null);
    try { await carriedOut(form, values); onClose(true); } catch (refused) { if (!(refused instanceof Refused)) console.error(refused); setError(refused); setSending(false); }
  }
  const copy = () => { const { path, method = 'POST', body } = form.sends(values); copied(curl(path, method, body && concealed(body)), 'curl command'); };
  const what = typeof form.what === 'function' ? form.what(values) : form.what;
  return html`<${Dialog} title=${form.title} onClose=${onClose}><form onSubmit=${send}>
    <h2>${form.title}</h2>
    ${what && html`<p class="notice">${what}</p>`}
    ${(form.fields || []).map(one => html`<${Field} key=${one.name} id="f-${one.name}" spec=${one} value=${values[one.name]} onChange=${value => setValues(old => ({ ...old, [one.name]: value }))} />`)}
    ${form.aside && html`<${form.aside} values=${values} />`}
    <${Failure} error=${error} apart />
    <div class="row"><button type="button" class="quiet first" onClick=${copy}>Copy as curl</button><button type="button" onClick=${() => onClose(false)}>Cancel</button>
      <button class=${form.danger ? 'danger' : 'primary'} disabled=${sending}>${sending ? 'Sending…' : form.button}</button></div>
  </form><//>`;
}

/** Buttons for a list of forms; the chosen one opens. */
export function Actions({ forms, onDone }) {
  const [open, setOpen] = useState(null);
  const close = done => { setOpen(null); if (done) onDone?.(); };
  return html`${forms.filter(Boolean).map(form => html`<button type="button" key=${form.key} class=${form.look || (form.danger ? 'danger' : '')} onClick=${() => setOpen(form)}>${form.label}</button>`)}
    ${open && html`<${FormDialog} form=${open} onClose=${close} />`}`;
}

export const Facts = ({ of }) => html`<dl class="facts">${of.filter(Boolean).map(([name, value]) => html`<dt>${name}</dt><dd>${value ?? '–'}</dd>`)}</dl>`;

export const Toasts = () => html`<div class="toasts" role="status" aria-live="polite">${toasts.value.map(one => html`
  <div class="toast ${one.kind}" key=${one.id}><span>${one.text} ${one.requestId && html`<a href="#/requests/${one.requestId}">Follow it</a>`}</span><button class="quiet" onClick=${() => dismiss(one.id)} aria-label="Dismiss">×</button></div>`)}</div>`;
