import { DecoratorHandler, type Dispatcher } from 'undici';
import { errnoText } from '../../http/failure.js';
import type { MessageLog, NewEntry } from './message-log.js';

/** Longer answers are told by their lengths alone. */
const longestBody = 1024 * 1024;

/** Writes down what the Cloud Controller itself asks over HTTP, and what it is answered. */
export function recordRequests(log: MessageLog): Dispatcher.DispatcherComposeInterceptor {
  return (dispatch) => (options, handler) => {
    const { method, origin, path, body } = options;
    const facts = { via: 'http', method, url: `${origin}${path}` } as const;
    log.add({ direction: 'out', ...facts, ...(typeof body === 'string' && { body: parsed(body) }) });
    return dispatch(
      options,
      new RecordingHandler(handler, (answer) => log.add({ direction: 'in', ...facts, ...answer })),
    );
  };
}

type Tell = (answer: Pick<NewEntry, 'status' | 'bytes' | 'body' | 'fault'>) => void;

class RecordingHandler extends DecoratorHandler {
  readonly #handler: Dispatcher.DispatchHandler;
  readonly #tell: Tell;
  readonly #chunks: Buffer[] = [];
  #status = 0;
  #bytes = 0;

  constructor(handler: Dispatcher.DispatchHandler, tell: Tell) {
    super(handler);
    this.#handler = handler;
    this.#tell = tell;
  }

  onResponseStart(...answer: Parameters<NonNullable<Dispatcher.DispatchHandler['onResponseStart']>>): void {
    this.#status = answer[1];
    this.#handler.onResponseStart?.(...answer);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#bytes <= longestBody) this.#chunks.push(chunk);
    this.#handler.onResponseData?.(controller, chunk);
  }

  onResponseEnd(...end: Parameters<NonNullable<Dispatcher.DispatchHandler['onResponseEnd']>>): void {
    const isWhole = this.#bytes > 0 && this.#bytes <= longestBody;
    const body = isWhole ? parsed(Buffer.concat(this.#chunks).toString()) : undefined;
    this.#tell({ status: this.#status, ...(body === undefined ? { bytes: this.#bytes } : { body }) });
    this.#handler.onResponseEnd?.(...end);
  }

  onResponseError(controller: Dispatcher.DispatchController, error: Error): void {
    this.#tell({ fault: errnoText(error) });
    this.#handler.onResponseError?.(controller, error);
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
