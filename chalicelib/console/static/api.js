// The session, and requests to the API. The token is kept in sessionStorage: it ends with the tab, and is never in a URL.
import { signal } from '../vendor/signals.js';

const page = document.documentElement.dataset;
/** The service's root, whatever stage or base path precedes it. */
export const ROOT = new URL('../../../', import.meta.url).href;
export const IDENTITY = (page.identity || `${ROOT}identity/v3`).replace(/\/$/, '');
export const VOLUME = `${ROOT}v3`;
const KEY = 'cinderless-session';

export const session = signal(stored());
/** Set while a request waits for a new log-in, because its token has expired. */
export const expired = signal(null);
export const toasts = signal([]);

function stored() {
  try { return JSON.parse(sessionStorage.getItem(KEY)); } catch { return null; }
}

function keep(found) {
  if (found) sessionStorage.setItem(KEY, JSON.stringify(found)); else sessionStorage.removeItem(KEY);
  session.value = found;
}

/** An answer of the service that is not a success, with its message and the id of the request. */
export class Refused extends Error {
  constructor(status, message, requestId) { super(message); this.status = status; this.requestId = requestId; }
}

export const can = {
  get admin() { return Boolean(session.value?.roles.includes('admin')); },
  get write() { return Boolean(session.value?.roles.some(role => ['admin', 'manager', 'member'].includes(role))); },
};

const REFUSED = 'cinderless-refused';

/** The newest requests of this tab that were refused: the service keeps accepted ones only. */
export function refusals() {
  try { return JSON.parse(sessionStorage.getItem(REFUSED)) || []; } catch { return []; }
}

function remembered(refusal) {
  if (refusal.id) sessionStorage.setItem(REFUSED, JSON.stringify([...refusals().slice(-29), refusal]));
}

async function send(url, { method = 'GET', body, token, headers = {} } = {}) {
  const began = Date.now();
  let answer;
  try {
    answer = await fetch(url, {
      method,
      headers: { Accept: 'application/json', ...(body ? { 'Content-Type': 'application/json' } : {}), ...(token ? { 'X-Auth-Token': token } : {}), ...headers },
      body: body ? JSON.stringify(body) : undefined,
      cache: 'no-store', credentials: 'omit', redirect: 'error',
    });
  } catch {
    throw new Refused(0, 'The service cannot be reached. Check the connection, and try again.');
  }
  const requestId = answer.headers.get('x-openstack-request-id');
  const text = await answer.text();
  let parsed = null;
  try { parsed = text ? JSON.parse(text) : null; } catch { /* a proxy's page */ }
  if (!answer.ok) {
    const refused = new Refused(answer.status, message(parsed) || `The service answered ${answer.status}.`, requestId);
    if (url.startsWith(VOLUME)) remembered({ id: requestId, method, path: url.slice(VOLUME.length), status: answer.status, message: refused.message, began, ended: Date.now() });
    throw refused;
  }
  return { body: parsed, headers: answer.headers, requestId };
}

function message(body) {
  if (!body || typeof body !== 'object') return '';
  const fault = Object.values(body).find(one => one && typeof one === 'object' && typeof one.message === 'string');
  return fault ? fault.message : typeof body.message === 'string' ? body.message.replace(/<[^>]*>/g, ' ').trim() : '';
}

/** Ask the volume service. An expired token opens the log-in over the page, and the request is sent again afterwards. */
export async function request(path, options = {}) {
  for (;;) {
    const token = session.value?.token;
    if (!token) await loggedIn();
    try {
      return await send(VOLUME + path, { ...options, token: session.value.token, headers: { 'OpenStack-API-Version': 'volume 3.71', ...options.headers } });
    } catch (error) {
      if (error.status !== 401) throw error;
      if (session.value?.token === token) await loggedIn();
    }
  }
}

function loggedIn() {
  if (!expired.value) {
    let done;
    const promise = new Promise(resolve => { done = resolve; });
    expired.value = { promise, done };
  }
  return expired.value.promise;
}

export const get = async path => (await request(path)).body;

/** For administrators: whether lists show all projects. */
export const everywhere = signal(false);

/** The path of a list, of this project or of all. */
export const listed = path => (can.admin && everywhere.value ? `${path}${path.includes('?') ? '&' : '?'}all_tenants=1` : path);

/** Every record of a list, page by page, at most `most`. */
export async function all(path, name, most = 5000) {
  const found = [];
  let next = path;
  while (next && found.length < most) {
    const body = await get(next);
    found.push(...body[name]);
    const link = (body[`${name}_links`] || []).find(one => one.rel === 'next');
    next = link && body[name].length ? `${path.split('?')[0]}${new URL(link.href).search}` : null;
  }
  return found;
}

export function toast(text, requestId, kind = '') {
  const id = Math.random();
  toasts.value = [...toasts.value.slice(-3), { id, text, requestId, kind }];
  setTimeout(() => dismiss(id), 9000);
}

export function dismiss(id) { toasts.value = toasts.value.filter(one => one.id !== id); }

const scoped = id => ({ project: { id } });

function remember(answer, token, base, extra = {}) {
  const facts = answer.body.token;
  keep({
    token, base: base || token, user: facts.user.name, userId: facts.user.id, project: facts.project?.name || facts.project?.id,
    projectId: facts.project?.id, roles: (facts.roles || []).map(role => role.name), expires: facts.expires_at, ...extra,
  });
  if (expired.value) { const { done } = expired.value; expired.value = null; done(); }
}

const tokens = (identity, scope) => send(`${IDENTITY}/auth/tokens`, { method: 'POST', body: { auth: { identity, ...(scope ? { scope } : {}) } } });

export async function logInByPassword(name, password, domain, wanted) {
  const identity = { methods: ['password'], password: { user: { name, password, domain: { name: domain || 'Default' } } } };
  const first = await tokens(identity);
  const base = first.headers.get('x-subject-token');
  const projects = await projectsOf(base);
  if (!projects.length) throw new Refused(403, 'This user has no role on any project. Ask your administrator for one.');
  const project = projects.find(one => one.id === wanted || one.name === wanted) || projects[0];
  await rescope(base, project.id, projects);
}

async function projectsOf(token) {
  return (await send(`${IDENTITY}/auth/projects`, { token })).body.projects.map(({ id, name }) => ({ id, name }));
}

async function rescope(base, projectId, projects) {
  const answer = await tokens({ methods: ['token'], token: { id: base } }, scoped(projectId));
  remember(answer, answer.headers.get('x-subject-token'), base, { projects });
}

export async function switchProject(projectId) {
  const { base, projects } = session.value;
  await rescope(base, projectId, projects);
}

export async function logInByCredential(id, secret) {
  const answer = await tokens({ methods: ['application_credential'], application_credential: { id, secret } });
  remember(answer, answer.headers.get('x-subject-token'));
}

export async function logInByToken(token) {
  const answer = await send(`${IDENTITY}/auth/tokens`, { token, headers: { 'X-Subject-Token': token } });
  if (!answer.body.token.project) throw new Refused(403, 'This token has no project. Request one with: openstack token issue');
  remember(answer, token);
}

/** Revoke what this session holds, and forget it. */
export async function logOut() {
  everywhere.value = false;
  const { token, base } = session.value;
  keep(null);
  sessionStorage.removeItem(REFUSED);
  for (const one of new Set([token, base])) {
    await send(`${IDENTITY}/auth/tokens`, { method: 'DELETE', token: one, headers: { 'X-Subject-Token': one } }).catch(() => {});
  }
}

/** A request as curl; the token is never part of it. */
export function curl(path, method = 'GET', body) {
  const parts = [`curl -s -H "X-Auth-Token: \${OS_TOKEN:-$(openstack token issue -f value -c id)}" -H "OpenStack-API-Version: volume 3.71"`];
  if (method !== 'GET') parts.push(`-X ${method}`);
  if (body) parts.push(`-H 'Content-Type: application/json' -d ${quoted(JSON.stringify(body))}`);
  return `${parts.join(' ')} ${quoted(VOLUME + path)}`;
}

/** A word for a shell. */
export const quoted = text => `'${String(text).replaceAll("'", "'\\''")}'`;
