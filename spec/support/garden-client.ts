import { callGarden, type GardenAnswer, RawConnection } from './garden.js';

/** What a process of a container said and how it ended. */
export interface Ending {
  status: number;
  stdout: string;
  stderr: string;
}

/** A client of a running `bin/garden` that makes few words of common things, over the socket alone. */
export class GardenClient {
  /** @param socket path of the server's UNIX socket */
  constructor(private readonly socket: string) {}

  call(method: string, path: string, body?: unknown): Promise<GardenAnswer> {
    return callGarden(this.socket, method, path, body);
  }

  /** @returns the body of a 200. @throws with the server's message for anything else */
  async ask(method: string, path: string, body?: unknown): Promise<unknown> {
    const answer = await this.call(method, path, body);
    if (answer.status !== 200) throw new Error((answer.json as { Message: string }).Message);
    return answer.json;
  }

  /** @returns the handle. @throws with the server's message */
  async create(spec: Record<string, unknown> = {}): Promise<string> {
    return ((await this.ask('POST', '/containers', spec)) as { Handle: string }).Handle;
  }

  async handles(): Promise<string[]> {
    return ((await this.ask('GET', '/containers')) as { Handles: string[] }).Handles;
  }

  /** Destroys all that are left. */
  async destroyAll(): Promise<void> {
    const handles = await this.handles();
    await Promise.all(handles.map((handle) => this.ask('DELETE', `/containers/${handle}`)));
  }

  async info(handle: string): Promise<Record<string, unknown>> {
    return (await this.ask('GET', `/containers/${handle}/info`)) as Record<string, unknown>;
  }

  async metrics(handle: string): Promise<Record<string, Record<string, number>>> {
    return (await this.ask('GET', `/containers/${handle}/metrics`)) as Record<string, Record<string, number>>;
  }

  /** Starts a process. @throws with the server's message when it does not come to be */
  async run(handle: string, spec: Record<string, unknown>): Promise<RawConnection> {
    return this.#begin(`POST /containers/${handle}/processes`, { user: 'root', ...spec });
  }

  attach(handle: string, processId: string): Promise<RawConnection> {
    return this.#begin(`GET /containers/${handle}/processes/${processId}`);
  }

  /** Follows an output of a process that was started or attached to. */
  output(handle: string, conversation: RawConnection, name: 'stdout' | 'stderr'): Promise<RawConnection> {
    const { process_id: id, stream_id: stream } = conversation.payloads[0] ?? {};
    return RawConnection.request(this.socket, `GET /containers/${handle}/processes/${id}/attaches/${stream}/${name}`);
  }

  /** Runs a shell script, or what a description says, to its end. */
  async exec(
    handle: string,
    what: string | Record<string, unknown>,
    more: Record<string, unknown> = {},
  ): Promise<Ending> {
    const spec = typeof what === 'string' ? { path: 'sh', args: ['-c', what] } : what;
    const conversation = await this.run(handle, { ...spec, ...more });
    const [stdout, stderr] = await Promise.all([
      this.output(handle, conversation, 'stdout'),
      this.output(handle, conversation, 'stderr'),
    ]);
    await Promise.all([conversation, stdout, stderr].map((connection) => connection.ended(60_000)));
    const last = conversation.payloads.at(-1) ?? {};
    if (typeof last.exit_status !== 'number') throw new Error(`no exit status but ${JSON.stringify(last)}`);
    return { status: last.exit_status, stdout: stdout.rest, stderr: stderr.rest };
  }

  /** Standard output of a script that must succeed. */
  async read(handle: string, script: string, more: Record<string, unknown> = {}): Promise<string> {
    const { status, stdout, stderr } = await this.exec(handle, script, more);
    if (status !== 0) throw new Error(`${script}: exit status ${status}: ${stderr}`);
    return stdout;
  }

  streamIn(
    handle: string,
    place: { user?: string; destination?: string },
    tar: Buffer | string,
  ): Promise<GardenAnswer> {
    return this.call('PUT', `/containers/${handle}/files?${new URLSearchParams(place)}`, tar);
  }

  streamOut(handle: string, place: { user?: string; source?: string }): Promise<GardenAnswer> {
    return this.call('GET', `/containers/${handle}/files?${new URLSearchParams(place)}`);
  }

  async #begin(head: string, body?: unknown): Promise<RawConnection> {
    const connection = await RawConnection.request(this.socket, head, body);
    await connection.until(({ rest }) => rest.includes('\n'));
    if (!/^HTTP\/1.1 20[01] /.test(connection.head)) {
      connection.close();
      throw new Error(String(connection.payloads[0]?.Message));
    }
    return connection;
  }
}
