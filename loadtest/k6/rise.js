// A rising number of requests per second until the callers no longer keep up: where is the knee, and does anything fail
// before it?

import http from 'k6/http';
import { check } from 'k6';
import { chat, fields, url } from './target.js';

const PEAK = Number(__ENV.PEAK || 5000);

export const options = {
  scenarios: {
    rise: {
      executor: 'ramping-arrival-rate',
      startRate: Math.ceil(PEAK / 10),
      timeUnit: '1s',
      preAllocatedVUs: 200,
      maxVUs: 1000,
      stages: [
        { target: PEAK, duration: '30s' },
        { target: PEAK, duration: '10s' },
      ],
    },
  },
  thresholds: { checks: ['rate==1'], http_req_failed: ['rate==0'] },
  summaryTrendStats: ['med', 'p(90)', 'p(99)', 'max'],
};

export default function () {
  const answer = http.post(url('/v1/chat/completions'), chat(), fields());
  check(answer, { 'status 200': (got) => got.status === 200 });
}
