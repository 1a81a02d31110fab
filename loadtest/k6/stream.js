// Streamed completions: k6 sees a stream only when it is over, so this checks that it is whole, and the time to its first
// byte. For every event on its way, use cube-stream.

import http from 'k6/http';
import { check } from 'k6';
import { Trend } from 'k6/metrics';
import { bounded, callers, chat, duration, fields, url } from './target.js';

const EVENTS = Number(__ENV.EVENTS || 40);
const PACE_US = Number(__ENV.PACE_US || 5000);
const firstByte = new Trend('first_byte', true);

export const options = {
  scenarios: { stream: { executor: 'constant-vus', vus: callers, duration, gracefulStop: '10s' } },
  thresholds: {
    checks: ['rate==1'],
    ...bounded('first_byte'),
  },
  summaryTrendStats: ['med', 'p(90)', 'p(99)', 'max'],
};

export default function () {
  const answer = http.post(
    url('/v1/chat/completions'),
    chat({ stream: true, stream_options: { include_usage: true } }),
    fields({ events: EVENTS, 'pace-us': PACE_US }),
  );
  firstByte.add(answer.timings.waiting);
  const numbers = [...answer.body.matchAll(/"#(\d{8})@/g)].map((match) => Number(match[1]));
  check(answer, {
    'status 200': (got) => got.status === 200,
    'every event once and in order': () =>
      numbers.length === EVENTS && numbers.every((number, place) => number === place),
    'usage came': (got) => got.body.includes(`"completion_tokens":${EVENTS}`),
    'ends with [DONE]': (got) => got.body.endsWith('data: [DONE]\n\n'),
  });
}
