// Good and bad requests mixed: bad ones get their status, quickly, and good ones do not suffer. Needs the demo's line (DEMO),
// which holds PATs that are refused, each in its way.

import http from 'k6/http';
import { check } from 'k6';
import { callers, chat, duration, fields, pat, refused, url } from './target.js';

const CASES = [
  { name: 'good', status: 200, credential: pat },
  { name: 'revoked', status: 401, credential: refused.revoked },
  { name: 'expired', status: 401, credential: refused.expired },
  { name: 'wrong scope', status: 403, credential: refused.wrong_scope },
  { name: 'wrong domain', status: 404, credential: refused.wrong_domain },
  { name: 'typing error', status: 401, credential: `${pat}x` },
  { name: 'unknown model', status: 404, credential: pat, body: chat({ model: 'no-such-model' }) },
  { name: 'not JSON', status: 400, credential: pat, body: '{"model":' },
];

http.setResponseCallback(http.expectedStatuses(200, 400, 401, 403, 404));

export const options = {
  scenarios: { refusals: { executor: 'constant-vus', vus: callers, duration } },
  thresholds: { checks: ['rate==1'], http_req_failed: ['rate==0'] },
  summaryTrendStats: ['med', 'p(90)', 'p(99)', 'max'],
};

export default function () {
  for (const one of CASES) {
    const answer = http.post(url('/v1/chat/completions'), one.body || chat(), {
      ...fields({}, one.credential),
      tags: { case: one.name },
    });
    check(answer, { [`${one.name}: ${one.status}`]: (got) => got.status === one.status });
  }
}
