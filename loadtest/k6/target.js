// Where to send requests, from the environment: what `cargo demo --json` prints, or its parts.
//
//   k6 run -e DEMO="$(head -1 demo.json)" loadtest/k6/chat.js
//   k6 run -e CUBE_ORIGIN=http://127.0.0.1:8080 -e CUBE_DOMAIN=demo -e CUBE_PAT=pat_… loadtest/k6/chat.js

const demo = __ENV.DEMO ? JSON.parse(__ENV.DEMO) : {};

export const origin = __ENV.CUBE_ORIGIN || demo.origin || 'http://127.0.0.1:8080';
export const domain = __ENV.CUBE_DOMAIN || demo.domain || 'demo';
export const model = __ENV.CUBE_MODEL || demo.model || 'demo-model';
export const pat = __ENV.CUBE_PAT || demo.pat;
export const refused = demo.refused || {};

export const callers = Number(__ENV.CALLERS || 32);
export const duration = __ENV.DURATION || '20s';

/** A bound on the slowest hundredth, where one is asked for (P99_MS): only on a machine that does nothing else does it say much. */
export function bounded(trend) {
  return __ENV.P99_MS ? { [trend]: [`p(99)<${__ENV.P99_MS}`] } : {};
}

/** The URL of an OpenAI path in the domain. */
export function url(path) {
  return `${origin}/proxy/${domain}${path}`;
}

/** Fields of a request with `credential` (by default the PAT that works), and `x-mock-…` knobs. */
export function fields(knobs = {}, credential = pat) {
  const all = { 'Content-Type': 'application/json', Authorization: `Bearer ${credential}` };
  for (const [knob, value] of Object.entries(knobs)) {
    all[`x-mock-${knob}`] = String(value);
  }
  return { headers: all };
}

/** The body of a chat. */
export function chat(extra = {}) {
  return JSON.stringify({ model, messages: [{ role: 'user', content: 'Say something.' }], ...extra });
}
