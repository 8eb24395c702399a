// The shell: log-in, navigation by the address's fragment, and one screen at a time.
import { render } from '../vendor/preact.js';
import { useEffect, useState } from '../vendor/preact-hooks.js';
import '../vendor/signals.js';
import { can, everywhere, expired, logInByCredential, logInByPassword, logInByToken, logOut, session, switchProject } from './api.js';
import { Dialog, Failure, Field, Toasts, html } from './ui.js';

/** Path -> module of the screen, the name of its function and its title; loaded when it is first opened. */
const SCREENS = [
  { path: '', title: 'Overview', load: () => import('./overview.js') },
  { path: 'volumes', title: 'Volumes', load: () => import('./volumes.js') },
  { path: 'snapshots', title: 'Snapshots', load: () => import('./snapshots.js') },
  { path: 'protection', title: 'Backups', load: () => import('./protection.js') },
  { path: 'requests', title: 'Requests', load: () => import('./requests.js') },
  { path: 'placement', title: 'Placement', load: () => import('./placement.js') },
  { path: 'topology', title: 'Topology and cost', load: () => import('./topology.js') },
  { path: 'services', title: 'Services and pools', group: 'Administration', admin: true, load: () => import('./services.js') },
  { path: 'types', title: 'Volume types', group: 'Administration', admin: true, load: () => import('./types.js') },
  { path: 'qos', title: 'QoS specs', group: 'Administration', admin: true, load: () => import('./qos.js') },
  { path: 'dead-letters', title: 'Dead letters', group: 'Administration', admin: true, load: () => import('./letters.js') },
  { path: 'quotas', title: 'Quotas', group: 'Administration', admin: true, load: () => import('./quotas.js') },
];

const WAYS = {
  password: {
    label: 'Password',
    fields: [
      { name: 'user', label: 'User', required: true, autocomplete: 'username' },
      { name: 'password', label: 'Password', type: 'password', required: true, autocomplete: 'current-password' },
      { name: 'project', label: 'Project', hint: 'Empty: the first one that you have a role on.' },
      { name: 'domain', label: 'Domain', placeholder: 'Default' },
    ],
    logIn: values => logInByPassword(values.user, values.password, values.domain, values.project),
  },
  credential: {
    label: 'App credential',
    fields: [
      { name: 'id', label: 'Id of the application credential', required: true },
      { name: 'secret', label: 'Secret', type: 'password', required: true },
    ],
    logIn: values => logInByCredential(values.id, values.secret),
  },
  token: {
    label: 'Token',
    fields: [{ name: 'token', label: 'Token', type: 'password', required: true, hint: 'From: openstack token issue -f value -c id' }],
    logIn: values => logInByToken(values.token.trim()),
  },
};

function LogIn({ text }) {
  const [way, setWay] = useState('password');
  const [values, setValues] = useState({ user: session.value?.user || '', project: session.value?.project || '' });
  const [error, setError] = useState(null);
  const [sending, setSending] = useState(false);
  async function send(event) {
    event.preventDefault();
    setSending(true); setError(null);
    try { await WAYS[way].logIn(values); } catch (refused) { setError(refused); setSending(false); }
  }
  return html`<form onSubmit=${send}>
    <h1>Cinderless</h1>
    <p class="soft" style=${{ margin: 0 }}>${text}</p>
    <div class="tabs" role="tablist" aria-label="Ways to log in">${Object.entries(WAYS).map(([key, one]) => html`<button type="button" role="tab" aria-selected=${way === key} onClick=${() => { setWay(key); setError(null); }}>${one.label}</button>`)}</div>
    ${WAYS[way].fields.map(one => html`<${Field} key=${one.name} id="login-${one.name}" spec=${one} value=${values[one.name]} onChange=${value => setValues(old => ({ ...old, [one.name]: value }))} />`)}
    <${Failure} error=${error} />
    <button class="primary" disabled=${sending}>${sending ? 'Logging in…' : 'Log in'}</button>
  </form>`;
}

function useFragment() {
  const read = () => {
    const text = location.hash.replace(/^#\/?/, '');
    try { return decodeURI(text); } catch { return text; } // a link with a stray percent sign
  };
  const [value, setValue] = useState(read);
  useEffect(() => {
    const changed = () => setValue(read());
    addEventListener('hashchange', changed);
    return () => removeEventListener('hashchange', changed);
  }, []);
  return value;
}

function Screen({ screen, rest }) {
  const [view, setView] = useState(null);
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    let gone = false;
    screen.load().then(module => { if (!gone) setView(() => module.default); }, () => { if (!gone) setFailed(true); });
    return () => { gone = true; };
  }, [screen]);
  useEffect(() => { document.title = `${screen.title} – Cinderless`; }, [screen]);
  if (failed) return html`<h1>${screen.title}</h1><p class="notice bad" role="alert">This page could not be loaded from the service.</p><p><button type="button" onClick=${() => location.reload()}>Load again</button></p>`;
  return view ? html`<${view} rest=${rest} />` : html`<p class="soft" role="status">Loading…</p>`;
}

function Navigation({ current }) {
  const shown = SCREENS.filter(one => !one.admin || can.admin);
  const groups = [...new Set(shown.map(one => one.group))];
  return html`<nav class="side" aria-label="Main"><div class="brand"><img src=${new URL('icon.svg', import.meta.url).pathname} alt="" />Cinderless</div>
    ${groups.map(group => html`${group && html`<p class="group">${group}</p>`}<ul>${shown.filter(one => one.group === group).map(one => html`<li key=${one.path}><a href="#/${one.path}" aria-current=${current === one ? 'page' : undefined}>${one.title}</a></li>`)}</ul>`)}</nav>`;
}

function Top() {
  const { user, project, projectId, projects = [], roles } = session.value;
  const [error, setError] = useState(null);
  const change = event => switchProject(event.target.value).then(() => { location.hash = '#/'; }, setError);
  return html`<div class="top"><${Failure} error=${error} />
    ${projects.length > 1 ? html`<label><span class="soft">Project </span><select value=${projectId} onChange=${change}>${projects.map(one => html`<option value=${one.id} selected=${one.id === projectId}>${one.name}</option>`)}</select></label>` : html`<span><span class="soft">Project </span>${project}</span>`}
    ${can.admin && html`<label><input type="checkbox" checked=${everywhere.value} onChange=${event => { everywhere.value = event.target.checked; }} /> All projects</label>`}
    <span title=${roles.join(', ')}><span class="soft">User </span>${user}</span>
    <button type="button" onClick=${logOut}>Log out</button></div>`;
}

function Unknown({ path }) {
  const title = SCREENS.find(one => one.path === path)?.title;
  return html`<h1>${title || 'Page not found'}</h1><p class="notice">${title ? 'This page is for administrators. Log in with the role admin to see it.' : html`There is no page <code>${path}</code>.`} <a href="#/">Back to the overview</a></p>`;
}

function App() {
  const fragment = useFragment();
  if (!session.value) return html`<main class="login"><div class="panel"><${LogIn} text="Block storage. Log in to see your volumes." /></div></main>`;
  const [first, ...rest] = fragment.split('/');
  const screen = SCREENS.find(one => one.path === first && (!one.admin || can.admin));
  return html`<a class="skip" href="#main" onClick=${event => { event.preventDefault(); document.getElementById('main').focus(); }}>Skip to the content</a>
    <div class="shell"><${Navigation} current=${screen} />
      <main class="main" id="main" tabindex="-1"><${Top} /><div key=${`${session.value.projectId}/${everywhere.value}/${fragment}`}>${screen ? html`<${Screen} screen=${screen} rest=${rest} />` : html`<${Unknown} path=${first} />`}</div></main></div>
    ${expired.value && html`<${Dialog} title="Log in again" locked onClose=${() => {}}><${LogIn} text="Your session has expired. Log in to go on where you were." /><//>`}
    <${Toasts} />`;
}

render(html`<${App} />`, document.getElementById('app'));
