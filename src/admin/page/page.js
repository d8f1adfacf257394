// Draws what /events tells: first the past, then every two seconds what there is now. Texts of records,
// labels and settings become text nodes, never markup.
'use strict';

const WINDOW = 300e3;
const NS = 'http://www.w3.org/2000/svg';
const by = (id) => document.getElementById(id);
const state = { points: [], settings: {}, every: 2000, told: 0 };

// ---- elements

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}
const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => fill(document.createElementNS(NS, tag), attributes, children);
const put = (node, ...children) => node.replaceChildren(...children);

function table(head, rows) {
  const cell = (tag, [text, kind, scope]) => el(tag, { class: kind, scope }, text);
  const body = rows.map((row) => el('tr', {}, row.map((c, i) => (i ? cell('td', c) : cell('th', [c[0], c[1], 'row'])))));
  const line = (cells) => el('tr', {}, cells.map(([text, kind, span]) =>
    el('th', { class: kind, scope: span ? 'colgroup' : 'col', colspan: span }, text)));
  return el('table', {}, el('thead', {}, head.map(line)), el('tbody', {}, body));
}
const none = (words) => el('p', { class: 'none' }, words);

// ---- words for numbers

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 });
const count = (n) => (n < 100000 ? whole.format(n) : short.format(n));
const rate = (n) => (n > 0 && n < 9.95 ? n.toFixed(1) : count(n));
const seconds = (q) => (q === null || q === undefined ? null : typeof q === 'number' ? q : q.above);
function span(s) {
  if (!s) return '0';
  if (s < 0.9995) return `${s < 0.00995 ? (s * 1e3).toFixed(1) : Math.round(s * 1e3)} ms`;
  if (s < 99.95) return `${s < 9.995 ? s.toFixed(2) : s.toFixed(1)} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  return s < 172800 ? `${(s / 3600).toFixed(1)} h` : `${Math.round(s / 86400)} days`;
}
function time(q) {
  const s = seconds(q);
  return s === null ? '–' : (typeof q === 'number' ? '' : '> ') + span(s);
}
function bytes(n) {
  const units = ['B', 'KiB', 'MiB', 'GiB'];
  let at = 0;
  while (n >= 1024 && at < 3) { n /= 1024; at += 1; }
  return `${at && n < 10 ? n.toFixed(1) : Math.round(n)} ${units[at]}`;
}
const clock = (at) => new Date(at).toLocaleTimeString('en-GB');
const setting = (path, otherwise) => (state.settings[path] || otherwise || '').split(' (')[0];
const list = (path) => setting(path).replace(/^\[|\]$/g, '');

// ---- the flow: drawn once, then only its words change

const BOX = { w: 108, h: 66 };
const AT = (column, row) => [2 + column * 162, [6, 94, 182][row]];
const PLACES = [
  // name in the metrics, what it is called, where, what is done there
  ['in', 'Kafka', 0, 1], ['tokenize', 'Text', 1, 1], ['queue', 'Batcher', 2, 1], ['inference', 'Model', 3, 1],
  ['cache', 'Cache', 3, 0], ['enrich', 'Enrich', 4, 1], ['settle', 'In order', 5, 1], ['publish', 'Publish', 6, 1],
  ['passed', 'As it was', 7, 0], ['out', 'Enriched', 7, 1], ['dead', 'Dead letters', 7, 2],
];
const ENDS = ['in', 'passed', 'out', 'dead'];
const WAYS = [
  ['in', 'tokenize', (r) => r.read], ['tokenize', 'queue', (r) => r.inferred + r.reused],
  ['queue', 'inference', (r) => r.inferred], ['queue', 'cache', (r) => r.reused], ['inference', 'enrich', (r) => r.inferred],
  ['cache', 'enrich', (r) => r.reused], ['tokenize', 'settle', (r) => r.aside], ['enrich', 'settle', (r) => r.enriched],
  ['settle', 'publish', (r) => r.enriched + r.passed + r.dead], ['publish', 'passed', (r) => r.passed],
  ['publish', 'out', (r) => r.enriched], ['publish', 'dead', (r) => r.dead],
];

function way(from, to) {
  const [[x1, y1], [x2, y2]] = [from, to].map((name) => {
    const [, , column, row] = PLACES.find((place) => place[0] === name);
    return AT(column, row);
  });
  const [w, mid] = [BOX.w, BOX.h / 2];
  if (from === 'tokenize' && to === 'settle') { // below the model
    const [a, b, low] = [x1 + w / 2, x2 + w / 2, y1 + 121];
    return [`M${a} ${y1 + BOX.h}V${low - 14}q0 14 14 14H${b - 14}q14 0 14 -14V${y1 + BOX.h + 3}`, (a + b) / 2, low - 7];
  }
  const [a, b, m] = [x1 + w, x2 - 3, (x1 + w + x2) / 2];
  if (y1 === y2) return [`M${a} ${y1 + mid}H${b}`, to === 'out' ? m + 13 : m, y1 + mid - 8];
  const [c, d] = [y1 + mid, y2 + mid];
  const out = from === 'publish' || from === 'queue';
  return [`M${a} ${c}C${m} ${c} ${m} ${d} ${b} ${d}`, out ? m + 8 : m - 6, y2 > y1 === out ? d + (out ? 18 : -50) : (out ? d - 10 : c - 10)];
}

const flow = {};
function drawFlow() {
  const edges = WAYS.map(([from, to]) => {
    const [path, x, y] = way(from, to);
    const words = svg('text', { class: 'rate', x, y, 'text-anchor': 'middle' });
    const edge = svg('g', { 'data-way': `${from} ${to}` }, svg('path', { d: path }), words);
    return { edge, words };
  });
  const boxes = PLACES.map(([id, name, column, row]) => {
    const [x, y] = AT(column, row);
    const end = ENDS.includes(id);
    const level = end ? null : svg('rect', { class: 'fill', x, y: y + BOX.h, width: BOX.w, height: 0, rx: 9 });
    const depth = svg('text', { class: end ? 'soft' : 'depth', x: x + 10, y: y + (end ? 38 : 42) });
    const note = svg('text', { class: 'soft', x: x + 10, y: y + 57 });
    const title = svg('text', { class: 'name', x: x + 10, y: y + 20 }, name);
    const box = svg('rect', { class: end ? 'box end' : 'box', x, y, width: BOX.w, height: BOX.h, rx: 9 });
    const place = svg('g', { 'data-place': id }, box, level, title, depth, note);
    Object.assign(flow, { [id]: { place, level, depth, note, y } });
    return place;
  });
  flow.edges = edges;
  flow.svg = svg('svg', { viewBox: '0 0 1246 254', role: 'img' }, edges.map((e) => e.edge), boxes);
  put(by('flow'), flow.svg);
}

const fit = (words, most) => (words.length > most ? `${words.slice(0, most - 1)}…` : words);

function showFlow({ rates, depths, lag, totals, gauges }) {
  const most = Number(setting('limits.max_in_flight_records')) || Math.max(1, gauges.in_flight);
  WAYS.forEach(([, to, of], i) => {
    const { edge, words } = flow.edges[i];
    edge.setAttribute('class', (of(rates) > 0 ? 'on' : '') + (to === 'dead' ? ' dead' : ''));
    words.textContent = rate(of(rates));
  });
  for (const [id, depth] of Object.entries(depths)) {
    const place = flow[id];
    const height = BOX.h * Math.min(1, depth / most);
    place.depth.textContent = count(depth);
    place.level.setAttribute('height', height);
    place.level.setAttribute('y', place.y + BOX.h - height);
  }
  const perBatch = rates.batches > 0 ? rates.inferred / rates.batches : 0;
  const notes = {
    in: [fit(list('input.topics'), 15), `${count(lag.records)} behind`],
    tokenize: [, `${bytes(rates.bytes)}/s`],
    queue: [, perBatch ? `${rate(perBatch)} a batch` : 'waiting'],
    inference: [, `${rate(rates.batches)} batches/s`],
    cache: [, `${count(gauges.cache_entries)} kept`],
    enrich: [, 'and their parts'],
    settle: [, 'for their turn'],
    publish: [, `${rate(rates.commits)} commits/s`],
    out: [fit(setting('output.topic'), 15), count(totals.enriched)],
    passed: [fit(setting('output.topic'), 15), count(totals.passed)],
    dead: [fit(setting('dead_letter.topic'), 15), count(totals.dead)],
  };
  for (const [id, [depth, note]] of Object.entries(notes)) {
    if (depth !== undefined) flow[id].depth.textContent = depth;
    flow[id].note.textContent = note;
  }
  flow.dead.place.setAttribute('class', rates.dead > 0 ? 'bad' : '');
  const words = PLACES.filter(([id]) => id in depths).map(([id, name]) => `${name} ${depths[id]}`);
  flow.svg.setAttribute('aria-label', `Records waiting: ${words.join(', ')}. A second: ${rate(rates.read)} read, `
    + `${rate(rates.inferred)} through the model, ${rate(rates.reused)} from the cache, ${rate(rates.enriched)} enriched, `
    + `${rate(rates.passed)} passed, ${rate(rates.dead)} dead letters.`);
}

// ---- charts

const C = { w: 560, h: 176, left: 50, right: 6, top: 8, bottom: 22 };
const X = (at, end) => C.left + (C.w - C.left - C.right) * Math.max(0, 1 - (end - at) / WINDOW);
const Y = (share) => C.top + (C.h - C.top - C.bottom) * (1 - share);
const ceiling = (n) => {
  const power = 10 ** Math.floor(Math.log10(n));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= n * 0.999);
};

function frame(label, top, words, ...inside) {
  const ticks = [0, 0.5, 1].map((share) => [
    svg('line', { x1: C.left, x2: C.w - C.right, y1: Y(share), y2: Y(share) }),
    svg('text', { class: 'axis', x: C.left - 6, y: Y(share) + 4, 'text-anchor': 'end' }, words(top * share)),
  ]);
  const times = [['5 min ago', 0, 'start'], ['now', 1, 'end']].map(([text, at, anchor]) =>
    svg('text', { class: 'axis', x: at ? C.w - C.right : C.left, y: C.h - 5, 'text-anchor': anchor }, text));
  return svg('svg', { class: 'chart', viewBox: `0 0 ${C.w} ${C.h}`, role: 'img', 'aria-label': label }, ticks, inside, times);
}

function key(kind, words) {
  const mark = kind.length === 1 ? svg('line', { class: kind, x1: 0, x2: 20, y1: 6, y2: 6 }) : svg('rect', { class: kind, width: 20, height: 11, rx: 2 });
  return el('li', {}, svg('svg', { class: 'chart', viewBox: '0 0 20 11', 'aria-hidden': 'true' }, mark), words);
}

/// Lines `a` and `b` of numbers, or nothing where there is none.
function lines(host, what, words, a, b, end) {
  const known = [...a.values, ...b.values].filter((n) => n !== null);
  const top = ceiling(Math.max(a.least, ...known));
  const line = ({ values }, kind) => {
    let [d, on] = ['', false];
    values.forEach((n, i) => {
      if (n !== null) d += `${on ? 'L' : 'M'}${X(state.points[i].at, end).toFixed(1)} ${Y(n / top).toFixed(1)}`;
      on = n !== null;
    });
    return svg('path', { class: kind, d });
  };
  const last = (values) => (values.length && values[values.length - 1] !== null ? words(values[values.length - 1]) : '–');
  const told = [a, b].map((one) => `${one.name} ${last(one.values)}`);
  put(host, frame(`${what}, last five minutes; now ${told.join(', ')}; at most ${known.length ? words(Math.max(...known)) : '–'}`,
    top, words, line(b, 'b'), line(a, 'a')), el('ul', { class: 'legend' }, key('a', told[0]), key('b', told[1])));
}

function showCharts(end) {
  const of = (read) => state.points.map(read);
  lines(by('c-rate'), 'Records a second', rate, { name: 'read', values: of((p) => p.read), least: 1 },
    { name: 'delivered', values: of((p) => p.delivered) }, end);
  lines(by('c-late'), 'Time from admission to delivery', span, { name: 'p99', values: of((p) => seconds(p.p99)), least: 0.001 },
    { name: 'p50', values: of((p) => seconds(p.p50)) }, end);
  showLabels(end);
}

function showLabels(end) {
  const results = [...new Set(state.points.flatMap((p) => p.labels.map((one) => one.of)))];
  const charts = results.flatMap((of) => labelsOf(of, end));
  put(by('c-label'), ...(charts.length ? charts : [none('No record was enriched in the last five minutes.')]));
}

/// Of one result: shares of what another one says would be shares of nothing.
function labelsOf(of, end) {
  const told = state.points.map((p) => (p.labels.find((one) => one.of === of) || { counts: [] }).counts);
  const names = [...new Set(told.flatMap((c) => c.map(([name]) => name)))];
  names.sort((a, b) => (a === null) - (b === null));
  const counts = told.map((c) => new Map(c));
  // Of two seconds alone shares would jump about.
  const smooth = counts.map((_, i) => names.map((name) =>
    counts.slice(Math.max(0, i - 4), i + 1).reduce((sum, c) => sum + (c.get(name) || 0), 0)));
  const total = names.map((name) => counts.reduce((sum, c) => sum + (c.get(name) || 0), 0));
  const all = total.reduce((a, b) => a + b, 0);
  if (!all) return [];
  const shares = smooth.map((row) => {
    const sum = row.reduce((a, b) => a + b, 0);
    let below = 0;
    return sum ? row.map((n) => [below / sum, (below += n) / sum]) : null;
  });
  const kind = (i) => (names[i] === null ? 'l8' : `l${i % 8}`);
  const areas = [];
  names.forEach((name, i) => {
    let run = [];
    const close = () => {
      if (run.length > 1) {
        const edge = (side) => run.map(([at, share]) => `${X(at, end).toFixed(1)} ${Y(share[side]).toFixed(1)}`);
        areas.push(svg('path', { class: `area ${kind(i)}`, d: `M${edge(1).join('L')}L${edge(0).reverse().join('L')}Z` }));
      }
      run = [];
    };
    shares.forEach((row, at) => (row ? run.push([state.points[at].at, row[i]]) : close()));
    close();
  });
  const name = (i) => `${of === null ? '' : `${of}: `}${names[i] === null ? 'others' : names[i]}`;
  const words = (i) => `${name(i)} ${((100 * total[i]) / all).toFixed(1)} %`;
  const order = names.map((_, i) => i);
  return [frame(`Shares of labels, last five minutes: ${order.map(words).join(', ')}`, 1, (n) => `${Math.round(n * 100)} %`, areas),
    el('ul', { class: 'legend' }, order.map((i) => key(kind(i), `${words(i)} (${count(total[i])})`)))];
}

// ---- tables

function showTimes(times) {
  const three = ['p50', 'p95', 'p99'];
  const heads = [[['', ''], ['last minute', 'n', 3], ['last 5 minutes', 'n', 3]],
    [['stage', ''], ...three.map((p) => [p, 'n']), ...three.map((p) => [p, 'n'])]];
  put(by('times'), table(heads, times.map((t) =>
    [[t.name], ...[t.one_minute, t.five_minutes].flatMap((w) => three.map((p) => [time(w[p]), 'n']))])));
}

function showLag({ partitions, hidden }) {
  by('lag-note').textContent = hidden ? `the ${partitions.length} worst; ${hidden} more are not shown` : `${partitions.length} partitions`;
  const known = (n, words) => [n === null ? 'not known' : words(n), 'n'];
  put(by('lag'), partitions.length ? table([[['partition', ''], ['records', 'n'], ['time', 'n'], ['oldest in flight', 'n']]],
    partitions.map((p) => [[`${p.topic} ${p.partition}`], known(p.records, count), known(p.seconds, (s) => (s ? span(s) : '0')),
      [p.oldest ? span(p.oldest) : '–', 'n']])) : none('No partition is assigned to this worker.'));
}

function showDead({ reasons, dead }, letters) {
  by('dead-note').textContent = dead ? `${count(dead)} since the start` : '';
  if (!dead) return put(by('dead'), none('None since the start.'));
  put(by('dead'),
    table([[['reason', ''], ['last 5 minutes', 'n'], ['since the start', 'n']]],
      reasons.map(([reason, all, recent]) => [[reason], [count(recent), 'n'], [count(all), 'n']])),
    letters.length ? table([[['latest', ''], ['reason', ''], ['topic, partition, offset', '']]],
      letters.map((l) => [[clock(l.at)], [l.reason], [`${l.topic} ${l.partition} @ ${l.offset}`, 'wrap']])) : null);
  return undefined;
}

function showTexts(texts, why) {
  by('texts').hidden = texts === null && !why;
  if (texts === null) return why ? put(by('text'), none(why)) : undefined;
  return put(by('text'), texts.length ? table([[['label', ''], ['score', 'n'], ['text', '']]],
    texts.map((t) => [[t.label], [t.score === null ? '–' : t.score.toFixed(3), 'n'], [t.text, 'wrap']])) : none('None yet.'));
}

function showTiles({ rates, totals, times, lag, gauges }) {
  const whole = times.find((t) => t.name === 'processing');
  const most = setting('limits.max_in_flight_records');
  const tiles = [
    ['read', rate(rates.read), `read a second; ${count(totals.read)} in all`],
    ['delivered', rate(rates.enriched + rates.passed + rates.dead), `delivered a second; ${count(totals.enriched + totals.passed + totals.dead)} in all`],
    ['p99', whole ? time(whole.one_minute.p99) : '–', 'p99 to delivery, last minute'],
    ['lag', count(lag.records), lag.seconds ? `behind; the oldest for ${span(lag.seconds)}` : 'behind'],
    ['flight', count(gauges.in_flight), `in flight${most ? ` of ${most}` : ''}; ${bytes(gauges.in_flight_bytes)}`],
    ['parts', count(gauges.assigned), `partitions; ${gauges.paused ? `${gauges.paused} paused` : 'none paused'}`],
    ['dead', count(totals.dead), 'dead letters', rates.dead > 0],
  ];
  put(by('tiles'), ...tiles.map(([id, big, words, bad]) =>
    el('div', { class: bad ? 'tile bad' : 'tile', id: `t-${id}` }, el('b', {}, big), el('span', {}, words))));
}

/// Of the one model, or of each result's, where these differ.
function sessions() {
  const own = Object.keys(state.settings).filter((path) => /^(results\..+\.)?model\.sessions$/.test(path));
  const told = own.map((path) => [path.split('.').slice(1, -2).join('.'), setting(path)]);
  const same = new Set(told.map(([, n]) => n)).size < 2;
  return same ? (told[0] || [])[1] : told.map(([of, n]) => `${of}: ${n}`).join(', ');
}

function showReceipts(now) {
  const models = [now, ...(now.others || [])].filter((one) => one.model);
  const rows = models.length ? models.flatMap(({ model, digest, precision, provider }) =>
    [['model', model], ['digest', digest, 'mono'], ['precision', precision], ['provider', provider]]) : [['model', 'not loaded yet']];
  const more = [['sessions', sessions()], ['delivery', setting('delivery')], ['group', setting('kafka.group_id')],
    ['from', list('input.topics')], ['to', setting('output.topic')], ['rebalances', String(now.totals.rebalances)], ['aborted or failed commits', String(now.totals.aborts)]];
  put(by('made'), ...[...rows, ...more].filter(([, value]) => value).flatMap(([name, value, kind]) =>
    [el('dt', {}, name), el('dd', { class: kind }, value)]));
}

function showSettings(settings) {
  state.settings = Object.fromEntries(settings.map((one) => [one.path, one.value]));
  put(by('set'), settings.length ? table([[['setting', ''], ['value', ''], ['from', '']]],
    settings.map((one) => [[one.path, 'mono'], [one.value, 'mono wrap'], [one.origin]])) : none('They are not known here.'));
  const [from, to] = [list('input.topics'), setting('output.topic')];
  by('who').textContent = from && to ? `${setting('kafka.group_id')}: ${from} → ${to}` : '';
}

// ---- what is told

function mark(id, good, words) {
  by(id).className = `mark ${good === null ? '' : good ? 'good' : 'bad'}`;
  if (by(id).textContent !== words) by(id).textContent = words;
}

function show() {
  const now = state.now;
  if (!now || document.hidden) return;
  mark('ready', now.ready, now.ready ? 'ready' : 'not ready');
  mark('alive', !now.stuck.length, now.stuck.length ? 'stuck' : 'alive');
  const why = [now.why_not, ...now.stuck.map((s) => `${s.what} has work and has not moved for ${span(s.seconds)}`)];
  const words = why.filter(Boolean).join('; ');
  by('why').hidden = !words;
  if (by('why').textContent !== words) by('why').textContent = words;
  document.title = `${rate(now.rates.read)}/s · squeezeflow${now.ready ? '' : ' (not ready)'}`;
  showTiles(now);
  showFlow(now);
  showCharts(now.at);
  showTimes(now.times);
  showLag(now.lag);
  showDead(now.totals, now.letters);
  showTexts(now.texts, now.why_no_texts);
  showReceipts(now);
}

function linked(is) {
  mark('link', is, is ? 'connected' : 'reconnecting');
  document.body.className = is ? '' : 'stale';
}

function heard(now) {
  state.now = now;
  state.told = Date.now();
  linked(true);
  show();
}

function connect() {
  const source = new EventSource('events');
  source.addEventListener('past', (event) => {
    const past = JSON.parse(event.data);
    by('version').textContent = past.version;
    state.points = past.points;
    state.every = past.every_ms;
    showSettings(past.settings);
    heard(past.now);
  });
  source.addEventListener('now', (event) => {
    const now = JSON.parse(event.data);
    // The past may have had it already.
    const last = state.points[state.points.length - 1];
    if (now.point && !(last && last.at >= now.point.at)) state.points.push(now.point);
    state.points = state.points.filter((point) => point.at > now.at - WINDOW);
    heard(now);
  });
  source.addEventListener('error', () => {
    linked(false);
    // Refused (too many look, or the worker is behind something that says no): the browser gives up, we do not.
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 3000);
  });
}

drawFlow();
connect();
document.addEventListener('visibilitychange', show);
// A connection that says nothing is none.
setInterval(() => state.told && Date.now() - state.told > 4 * state.every && linked(false), 1000);
