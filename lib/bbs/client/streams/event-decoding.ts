import { type BbsEvent, eventType } from '../../decisions/events/event.js';
import { decode } from '../../messages/codec.js';
import { InvalidEventPayload, UnrecognizedEvent } from '../errors.js';
import type { ServerSentEvent } from './server-sent-events.js';

/**
 * The event that a stream's data is the message of (docs/protocol/bbs.md §11.2).
 *
 * @throws UnrecognizedEvent for names that no stream has; InvalidEventPayload
 */
export function decodeEvent({ name, data }: ServerSentEvent): BbsEvent {
  const type = eventType(name);
  if (!type) throw new UnrecognizedEvent(name);
  try {
    return {
      name,
      message: decode(type, base64Bytes(data), { invalidText: 'replaced', maximumFields: Number.POSITIVE_INFINITY }),
    } as BbsEvent;
  } catch (cause) {
    throw new InvalidEventPayload(`invalid payload of an event of type ${name}: ${(cause as Error).message}`, {
      cause,
    });
  }
}

/** Node's own decoder passes over what does not belong there. */
function base64Bytes(text: string): Buffer {
  const data = text.replaceAll('\n', '');
  if (data.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(data)) throw new Error('not base64');
  return Buffer.from(data, 'base64');
}
