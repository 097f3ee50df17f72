import type { IncomingMessage } from 'node:http';
import type { LogData } from '../logging/logger.js';

const header = 'x-vcap-request-id';
const longest = 128;

/** The name that a client has given its request, as it came; empty where there is none (docs/protocol/bbs.md §1). */
export function requestIdOf({ headers }: IncomingMessage): string {
  const value = headers[header];
  return typeof value === 'string' ? value : '';
}

/** It as log lines of all components have it: without dashes, so that a UUID is found as the trace id that it is. */
export function traceData(requestId: string): LogData {
  return requestId === '' ? {} : { trace_id: requestId.replaceAll('-', '').slice(0, longest) };
}
