import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type TLSSocket } from 'node:tls';

export interface ConnectionFiles {
  ca: string;
  cert: string;
  key: string;
}

/** One HTTPS connection that asks one thing after the other and looks at answers no closer than it must. */
export class Connection {
  #chunks: Buffer[] = [];
  #head: Buffer = Buffer.alloc(0);
  /** Of the body, still to come; undefined while the head is not there. */
  #missing: number | undefined;
  #done: ((bytes: number) => void) | undefined;
  #size = 0;
  #first: Buffer = Buffer.alloc(0);

  private constructor(private readonly socket: TLSSocket) {
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', (error) => {
      throw error;
    });
  }

  static async open(port: number, { ca, cert, key }: ConnectionFiles): Promise<Connection> {
    const files = { ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key) };
    const socket = connect({ port, host: '127.0.0.1', servername: 'localhost', ...files });
    await once(socket, 'secureConnect');
    socket.setNoDelay(true);
    return new Connection(socket);
  }

  /** @returns how long the answer's body was; the first bytes of it are in `first` */
  ask(path: string, body: Buffer): Promise<number> {
    const head = `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\nContent-Length: ${body.length}\r\n\r\n`;
    this.socket.write(body.length === 0 ? head : Buffer.concat([Buffer.from(head, 'latin1'), body]));
    return new Promise((resolve) => {
      this.#done = resolve;
    });
  }

  /** Beginning of the last answer's body. */
  get first(): Buffer {
    return this.#first;
  }

  close(): void {
    this.socket.destroy();
  }

  #take(chunk: Buffer): void {
    if (this.#missing === undefined) {
      this.#chunks.push(chunk);
      this.#head = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks);
      const end = this.#head.indexOf('\r\n\r\n');
      if (end === -1) return;
      const [, length] = /content-length: (\d+)/i.exec(this.#head.toString('latin1', 0, end)) ?? [];
      this.#size = Number(length);
      this.#first = this.#head.subarray(end + 4, end + 68);
      this.#missing = this.#size - (this.#head.length - end - 4);
    } else {
      this.#missing -= chunk.length;
    }
    if (this.#missing > 0) return;
    this.#missing = undefined;
    this.#chunks = [];
    this.#done?.(this.#size);
  }
}
