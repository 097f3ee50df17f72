import type { AppEvent } from '../store/event-store.js';
import type { LogLine } from './recent-logs.js';

/**
 * What the Cloud Controller itself writes into an app's log when something happens to the app (docs/protocol/legacy-cc.md
 * §6.1, §11); undefined when that is nothing. Pure.
 */
export function controllerLine({ app_guid: guid, type, timestamp, metadata }: AppEvent): LogLine | undefined {
  const text = textOf(guid, type, metadata);
  if (text === undefined) return undefined;
  const isFailure = type === 'app.staging-failed' || type === 'app.start-failed';
  return {
    timestampNs: BigInt(Date.parse(timestamp)) * 1_000_000n,
    type: isFailure ? 'ERR' : 'OUT',
    sourceType: 'API',
    sourceInstance: '0',
    text: Buffer.from(text),
  };
}

function textOf(guid: string, type: string, metadata: Record<string, unknown>): string | undefined {
  switch (type) {
    case 'audit.app.create':
      return `Created app with guid ${guid}`;
    case 'audit.app.update':
      return `Updated app with guid ${guid} (${JSON.stringify(metadata)})`;
    case 'app.crash':
      return `App instance exited with guid ${guid} payload: ${JSON.stringify(metadata)}`;
    case 'app.staging-failed':
      return `Staging failed: ${String(metadata.description)}`;
    case 'app.start-failed':
      return `Starting failed: ${String(metadata.description)}`;
    default:
      return undefined;
  }
}
