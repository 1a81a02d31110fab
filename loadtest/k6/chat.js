// JSON completions at a steady number of callers: nothing may fail.

import http from 'k6/http';
import { check } from 'k6';
import { bounded, callers, chat, duration, fields, url } from './target.js';

export const options = {
  scenarios: { chat: { executor: 'constant-vus', vus: callers, duration } },
  thresholds: {
    checks: ['rate==1'],
    http_req_failed: ['rate==0'],
    ...bounded('http_req_duration'),
  },
  summaryTrendStats: ['med', 'p(90)', 'p(99)', 'max'],
};

export default function () {
  const answer = http.post(url('/v1/chat/completions'), chat(), fields());
  check(answer, {
    'status 200': (got) => got.status === 200,
    'text is there': (got) => got.json('choices.0.message.content').length > 0,
    'usage is there': (got) => got.json('usage.completion_tokens') > 0,
  });
}
