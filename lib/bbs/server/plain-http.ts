import type { Socket } from 'node:net';
import type { Server, TLSSocket } from 'node:tls';

/** As Go's servers say it (docs/protocol/bbs.md §1). */
const answer = 'HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n';
const plainHttpCode = 'ERR_SSL_HTTP_REQUEST';

/** Tells who speaks plain HTTP to a server of TLS that this is the wrong port, and hangs up. */
export function refusePlainHttp(server: Server): void {
  server.on('tlsClientError', ({ code }: NodeJS.ErrnoException, socket: TLSSocket) => {
    // What lies below the failed socket has no public name; without it the client is cut off, as others are.
    const { _parent: below } = socket as TLSSocket & { _parent?: Socket };
    if (code !== plainHttpCode || !below?.writable) return;
    below.write(answer);
    below.destroySoon();
  });
}
