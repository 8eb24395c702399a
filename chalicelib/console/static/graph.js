// A drawn graph in columns: the nodes of each column below one another, curves between them. Names are text nodes.
import { html } from './ui.js';

const WIDTH = 212, HEIGHT = 40, GAP = 10, BETWEEN = 50, TOP = 30, LETTERS = 26;

/** Text that fits a node, isolated so that right-to-left names keep the rest in order. */
const fitted = text => `\u2068${text.length > LETTERS ? `${text.slice(0, LETTERS - 1)}…` : text}\u2069`;

/**
 * Give each node {id, column, from: [ids]} its place. The `leading` column has one node below another in the given order;
 * a node to the left of it is at the middle of those that come from it, one to the right beside the first it comes from.
 */
function placed(nodes, columns, leading) {
  const y = new Map();
  const rows = column => nodes.filter(one => one.column === column);
  rows(leading).forEach((one, row) => y.set(one.id, TOP + row * (HEIGHT + GAP)));
  for (let column = leading - 1; column >= 0; column -= 1) {
    stack(rows(column), y, one => { const next = nodes.filter(other => other.from.includes(one.id) && y.has(other.id)).map(other => y.get(other.id)); return next.length ? (Math.min(...next) + Math.max(...next)) / 2 : Infinity; });
  }
  for (let column = leading + 1; column < columns; column += 1) {
    stack(rows(column), y, one => Math.min(...one.from.filter(id => y.has(id)).map(id => y.get(id))));
  }
  return y;
}

/** Put nodes at their wanted places, in their order: each at least one height below the one before. */
function stack(nodes, y, wanted) {
  let free = TOP;
  for (const one of nodes) {
    const at = wanted(one);
    const top = Math.max(free, at === Infinity ? free : at);
    y.set(one.id, top);
    free = top + HEIGHT + GAP;
  }
}

/** titles: one a column; nodes: {id, column, kind, name, note, href, from, bad}. */
export function Graph({ label, titles, nodes, leading }) {
  const y = placed(nodes, titles.length, leading);
  const x = column => 1 + column * (WIDTH + BETWEEN);
  const byId = new Map(nodes.map(one => [one.id, one]));
  const height = Math.max(TOP, ...y.values()) + HEIGHT + 6;
  const width = x(titles.length - 1) + WIDTH + 2;
  const curve = (from, to) => {
    const left = x(from.column) + WIDTH, right = x(to.column), a = y.get(from.id) + HEIGHT / 2, b = y.get(to.id) + HEIGHT / 2, middle = (left + right) / 2;
    return `M${left},${a} C${middle},${a} ${middle},${b} ${right},${b}`;
  };
  const node = one => {
    const box = html`<rect class="node ${one.kind} ${one.bad ? 'wrong' : ''}" x=${x(one.column)} y=${y.get(one.id)} width=${WIDTH} height=${HEIGHT} rx="6" />
      <text x=${x(one.column) + 11} y=${y.get(one.id) + 17} class="node-name">${fitted(one.name)}</text><text x=${x(one.column) + 11} y=${y.get(one.id) + 32} class="node-note">${one.note}</text><title>${one.name}: ${one.note}</title>`;
    return one.href ? html`<a key=${one.id} href=${one.href} aria-label=${`${one.name}: ${one.note}`}>${box}</a>` : html`<g key=${one.id}>${box}</g>`;
  };
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${label}><svg class="graph" viewBox="0 0 ${width} ${height}" style=${{ maxWidth: `${width}px` }} role="group" aria-label=${label}>
    ${titles.map((title, column) => html`<text key=${title} class="node-note" x=${x(column) + 2} y="16">${title}</text>`)}
    ${nodes.flatMap(one => one.from.filter(id => byId.has(id)).map(id => html`<path key=${`${id} ${one.id}`} class="edge" d=${curve(byId.get(id), one)} />`))}
    ${nodes.map(node)}</svg></div>`;
}
