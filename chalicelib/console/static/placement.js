// Where a volume would go, and why not elsewhere: each filter removes pools, weights order the rest.
import { useState } from '../vendor/preact-hooks.js';
import { Refused, request } from './api.js';
import { known, volumeOf } from './forms.js';
import { Failure, Field, Panel, html, many, usePoll } from './ui.js';

export default function Placement() {
  const facts = usePoll(known).data || {};
  const [values, setValues] = useState({ size: 10, volume_type: '', availability_zone: '' });
  const [found, setFound] = useState(null);
  const [error, setError] = useState(null);
  const fields = [
    { name: 'size', label: 'Size in GiB', type: 'number', min: 1, required: true },
    { name: 'volume_type', label: 'Volume type', options: [{ value: '', label: 'Default' }, ...(facts.types || []).map(one => ({ value: one.name, label: one.name }))] },
    { name: 'availability_zone', label: 'Availability zone', options: [{ value: '', label: 'Default' }, ...(facts.zones || []).map(one => ({ value: one.zoneName, label: one.zoneName }))] },
  ];
  async function send(event) {
    event.preventDefault();
    try { setFound((await request('/volumes?dry_run=1', { method: 'POST', body: volumeOf(values) })).body.placement); setError(null); } catch (refused) {
      if (!(refused instanceof Refused)) throw refused;
      setFound(null); setError(refused);
    }
  }
  return html`<div class="heading"><div><h1>Placement</h1><span class="soft">Nothing is created or reserved: the scheduler answers as it would now.</span></div></div>
    <${Panel} title="A volume"><form onSubmit=${send} class="actions" style=${{ alignItems: 'end' }}>${fields.map(one => html`<${Field} key=${one.name} id="p-${one.name}" spec=${one} value=${values[one.name]} onChange=${value => setValues(old => ({ ...old, [one.name]: value }))} />`)}<button class="primary">Show the placement</button></form><//>
    <${Failure} error=${error} />
    ${found && html`<${Result} of=${found} />`}`;
}

function Result({ of: { candidates, removed } }) {
  const weights = candidates.map(one => one.weight);
  const least = Math.min(...weights), spread = Math.max(...weights) - least;
  const share = weight => (spread ? 0.05 + (0.95 * (weight - least)) / spread : 1);
  const count = pools => (Array.isArray(pools) ? pools.length : pools);
  return html`<div class="grid">
    <${Panel} title="Candidates, best first">${candidates.length ? html`<div class="usage">${candidates.map((one, place) => html`<span class="mono">${one.host || `pool ${place + 1}`}</span><progress max="1" value=${share(one.weight)} aria-label="Weight of ${one.host || place + 1}" /><span class="soft">${one.weight.toFixed(2)}</span>`)}</div>` : html`<p class="notice bad">No pool can take this volume.</p>`}<//>
    <${Panel} title="Removed by filters">${removed.length ? removed.map((one, place) => html`<p key=${place}><strong>${one.filter}</strong> removed ${many(count(one.pools), 'pool')}: ${one.reason}${Array.isArray(one.pools) && html`<br /><code>${one.pools.join(', ')}</code>`}</p>`) : html`<span class="soft">No filter removed a pool.</span>`}<//></div>`;
}
