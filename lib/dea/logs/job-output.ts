import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import type { Container } from '../../containers/engine.js';
import { JobSocket } from '../../containers/warden/job-socket.js';
import { errorData, type Logger } from '../../logging/logger.js';
import type { LogMessage } from '../../loggregator/envelope.js';
import type { Loggregator } from '../../loggregator/loggregator.js';
import type { LogSource } from './app-log.js';
import { LineSplitter } from './line-splitter.js';

export interface JobOutputsOptions {
  /** Lines go there; absent: another program reads the sockets and sends them. */
  loggregator?: Loggregator | undefined;
  logger: Logger;
}

export interface JobOutputRequest {
  container: Container;
  /** Directory of the container on this machine. */
  containerPath: string;
  /** Id of the process; also the job's number for those who read the sockets. */
  processId: string;
  appId: string;
  source: LogSource;
}

/** Brings what processes in containers print to those who read it. */
export class JobOutputs {
  readonly #options: JobOutputsOptions;

  constructor(options: JobOutputsOptions) {
    this.#options = options;
  }

  /**
   * Joins the output of a process that runs, from where an earlier agent has left off. Resolves when readers find the
   * sockets, and what the process has said is theirs. Never rejects: an app must run, also when nobody can read what it
   * says.
   */
  async follow(request: JobOutputRequest): Promise<JobOutput> {
    const { container, containerPath, processId } = request;
    const logger = this.#options.logger.child({ app_guid: request.appId }, 'Dea::JobOutput');
    const directory = join(containerPath, 'jobs', processId);
    const [stdout, stderr] = await Promise.all([
      openSocket(join(directory, 'stdout.sock'), logger),
      openSocket(join(directory, 'stderr.sock'), logger),
    ]);
    const sinks = {
      stdout: new OutputSink({ ...this.#emission(request, 'OUT'), socket: stdout }),
      stderr: new OutputSink({ ...this.#emission(request, 'ERR'), socket: stderr }),
    };
    const joined = container.attach(processId, { ...sinks, outputFrom: 'undelivered' });
    await joined.catch(() => {});
    const delivered = joined
      .then((process) => process.wait())
      .then(
        () => {},
        (error: unknown) => logger.debug('logs.job-output.cut-off', errorData(error)),
      )
      .then(() => Promise.all([sinks.stdout.finish(), sinks.stderr.finish()]))
      .then(() => {});
    return new JobOutput(delivered);
  }

  #emission({ appId, source }: JobOutputRequest, type: LogMessage['type']): Omit<OutputSinkOptions, 'socket'> {
    const { loggregator } = this.#options;
    return {
      emit: (text) => loggregator?.emit({ kind: 'LogMessage', appId, text, type, ...source }),
      uncongested: async () => loggregator?.uncongested(),
    };
  }
}

const deliveryPatienceMs = 5000;

/** The output of one process on its way. */
export class JobOutput {
  readonly #delivered: Promise<void>;

  constructor(delivered: Promise<void>) {
    this.#delivered = delivered;
  }

  /** The process has ended: resolves when all has arrived, or could have. */
  async settled(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, deliveryPatienceMs);
    });
    await Promise.race([this.#delivered, patience]);
    clearTimeout(timer);
  }
}

async function openSocket(path: string, logger: Logger): Promise<JobSocket | undefined> {
  try {
    await mkdir(join(path, '..'), { recursive: true, mode: 0o700 });
    return await JobSocket.listen(path, logger);
  } catch (error) {
    logger.warn('logs.job-socket.failed', { path, ...errorData(error) });
    return undefined;
  }
}

interface OutputSinkOptions {
  socket: JobSocket | undefined;
  emit(line: Buffer): void;
  uncongested(): Promise<void>;
}

/** Where the engine writes one output of a process to. */
class OutputSink extends Writable {
  readonly #options: OutputSinkOptions;
  readonly #splitter = new LineSplitter();

  constructor(options: OutputSinkOptions) {
    super();
    this.#options = options;
  }

  override _write(piece: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#options.socket?.write(piece);
    for (const line of this.#splitter.push(piece)) this.#options.emit(line);
    void this.#options.uncongested().then(() => done());
  }

  /** Nothing more will be written: the last line goes out without an end of line, readers of the socket see the end. */
  async finish(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.end(resolve);
    });
    for (const line of this.#splitter.flush()) this.#options.emit(line);
    await this.#options.socket?.close();
  }
}
