// The Crossover tab: asks for the session's runs every two seconds, and shows the latest, charts of some, and a table of all.
'use strict';

const IDLE = 4000, BUSY = 2000;  // ms between two questions, of which each takes CPU from the load
const find = id => document.getElementById(id);
const charts = CHARTS.map(spec => new Chart(spec, find('charts')));
const data = new Map();  // number of a run -> {recent, whole, settled, complete}
const ticked = new Map();  // number of a run -> whether the user wants it in the charts
const rows = new Map();  // number of a run -> [what its row shows, the row]
const choice = {span: 'recent', scale: 'linear'};
let runs = [];

const COLUMNS = [
  ['Run', run => run.number], ['Arm', run => [swatch(run), run.arm], 'text'], ['Validity', run => badge(run), 'text'],
  ['p50', run => percentile(run, 'latency_p50')], ['p95', run => percentile(run, 'latency_p95')],
  ['p99', run => percentile(run, 'latency_p99')],
  ['Lag p99', run => figure(run.lag_p99)], ['Offered /s', run => figure(run.offered)],
  ['Completed /s', run => figure(run.completed)], ['Refused', run => run.rejected],
  ['Lost', run => run.failed + run.timed_out + run.dropped],
  ['In flight', run => run.in_flight ?? '–'], ['Arrivals', run => run.arrivals, 'text'], ['Seed', run => run.seed],
  ['Seconds', run => lasted(run)], ['Files', run => links(run), 'text'],
];

// A percentile of too few answers to vouch for it stands in brackets.
function percentile(run, name) {
  return run.few.includes(name) && run[name] != null ? `(${figure(run[name])})` : figure(run[name]);
}

function swatch(run) {
  const dot = element('span', {class: 'swatch'});
  dot.style.setProperty('--colour', colour(run));
  return dot;
}

function lasted(run) {
  const seconds = parseFloat(run.state);
  return run.phase === 'ended' && seconds >= run.seconds ? seconds : `${seconds} of ${run.seconds}`;
}

function badge(run) {
  const kind = run.phase === 'stopped' ? 'stopped' : run.verdict.startsWith('VALID') ? 'valid'
    : run.verdict.startsWith('INVALID') ? 'invalid' : 'running';
  const text = {stopped: 'STOPPED', valid: run.verdict, invalid: 'INVALID', running: run.phase === 'running' ? 'RUNNING' : 'ENDING'};
  return element('span', {class: `badge ${kind}`}, text[kind]);
}

function links(run) {
  return element('span', {}, ...run.files.flatMap(([file, label]) =>
    [element('a', {href: `runs/${run.number}/${file}`, download: ''}, label), ' ']));
}

function tellLatest() {
  const place = find('latest'), [run] = runs;
  if (!run) {
    place.replaceChildren('No run yet: fill in the form, and press Start.');
    return;
  }
  place.style.setProperty('--colour', colour(run));
  const what = `${run.arm}: ${run.arrivals}, seed ${run.seed}; ${lasted(run)} s`;
  const figures = `latency ${['p50', 'p95', 'p99'].map(q => `${q} ${percentile(run, `latency_${q}`)}`).join(', ')} ms; `
    + `${figure(run.offered)} offered and ${figure(run.completed)} completed a second`;
  const reasons = run.findings.map(found => element('li', {}, `${found.rule}: ${found.measured} (${found.limit}); ${found.change}`));
  place.replaceChildren(
    element('p', {}, badge(run), ' ', element('b', {}, what)), element('p', {class: 'figures'}, figures),
    ...(run.phase === 'stopped' ? [element('p', {}, 'It was stopped: its figures are of what was due until then, and no measurement.')] : []),
    ...(reasons.length ? [element('ul', {}, ...reasons)] : []),
    ...(run.files.length ? [element('p', {}, 'Download: ', links(run))] : []));
}

function tellRuns() {
  const body = find('runs').tBodies[0];
  find('runs').tHead.replaceChildren(element('tr', {}, element('th', {}, 'Show'),
    ...COLUMNS.map(([title, , kind]) => element('th', {class: kind ?? ''}, title))));
  const made = runs.map(run => {
    const shows = JSON.stringify([run, isShown(run), document.documentElement.dataset.theme]);
    if (rows.get(run.number)?.[0] !== shows) {
      const box = element('input', {type: 'checkbox', 'aria-label': `show run ${run.number}`});
      box.checked = isShown(run);
      box.addEventListener('change', () => { ticked.set(run.number, box.checked); ask(); });
      rows.set(run.number, [shows, element('tr', {}, element('td', {'data-title': 'Show'}, box),
        ...COLUMNS.map(([title, show, kind]) => element('td', {class: kind ?? '', 'data-title': title}, element('span', {}, ...[show(run)].flat()))))]);
    }
    return rows.get(run.number)[1];
  });
  if (made.some((row, n) => body.rows[n] !== row) || body.rows.length !== made.length) body.replaceChildren(...made);
}

// Without a wish of the user's, the latest run of each arm is shown.
function isShown(run) {
  return ticked.get(run.number) ?? runs.find(each => each.arm === run.arm) === run;
}

async function fetchJson(path) {
  const answer = await fetch(path, {cache: 'no-store'});
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
  return answer.json();
}

async function fetchChart(run) {
  const known = data.get(run.number);
  if (known?.complete) return;
  const more = await fetchJson(`runs/${run.number}/chart?since=${known?.settled ?? 0}`);
  const complete = more.settled == null;
  data.set(run.number, complete ? {...more, complete} : {settled: more.settled,
    recent: merge(known?.recent, more.recent, RECENT), whole: merge(known?.whole, more.whole)});
}

function draw() {
  const shown = runs.filter(run => isShown(run) && data.has(run.number)).sort((a, b) => a.number - b.number)
    .map(run => ({run, columns: data.get(run.number)[choice.span] ?? data.get(run.number).recent}));
  const ends = shown.map(({columns}) => columns.t.at(-1) ?? 0), end = Math.max(10, ...ends);
  const range = [choice.span === 'recent' ? Math.max(0, end - RECENT) : 0, end];
  for (const chart of charts) chart.draw(shown, range, choice.scale === 'log');
  find('arms').replaceChildren(...shown.map(({run}) => element('li', {}, swatch(run), `${run.arm}, run ${run.number}`)));
}

// Whether anyone can see the page, which may stand in a tab of Locust's that is not the chosen one.
function isVisible() {
  return !document.hidden && (!window.frameElement || window.frameElement.offsetParent !== null);
}

async function ask() {
  try {
    const told = await fetchJson('runs');
    find('subject').textContent = told.subject;
    find('workload').textContent = told.workload;
    runs = told.runs;
    const known = new Set(runs.map(run => run.number));
    for (const map of [data, ticked, rows]) for (const number of map.keys()) if (!known.has(number)) map.delete(number);
    await Promise.all(runs.filter(isShown).map(fetchChart));
    find('trouble').hidden = true;
  } catch (error) {
    find('trouble').textContent = `Locust does not answer (${error.message}): what follows is what was known before.`;
    find('trouble').hidden = false;
  }
  tellLatest();
  tellRuns();
  draw();
}

function choose(id) {
  for (const button of find(id).children)
    button.addEventListener('click', () => {
      choice[id] = button.dataset.value;
      for (const each of find(id).children) each.setAttribute('aria-pressed', each === button);
      draw();
    });
}

function setTheme() {
  const dark = localStorage.theme ? localStorage.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
}

async function repeat() {
  if (isVisible()) await ask();
  setTimeout(repeat, runs.some(run => run.phase === 'running' || run.verdict === 'running') ? BUSY : IDLE);
}

setTheme();
window.addEventListener('storage', () => { setTheme(); tellRuns(); tellLatest(); draw(); });
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { setTheme(); draw(); });
choose('span');
choose('scale');
repeat();
