import { ServerCredentials } from '@grpc/grpc-js';
import { type Identity, tlsAmongComponents } from '../../http/internal-tls.js';

/** Only peers with a certificate of the authority are served; the library's own credentials leave the suites open. */
export class MutualTls extends ServerCredentials {
  constructor({ ca, cert, key }: Identity) {
    const rules = { ...tlsAmongComponents, requestCert: true, rejectUnauthorized: true };
    super(rules, { ...tlsAmongComponents, ca, cert, key });
  }

  override _equals(other: ServerCredentials): boolean {
    return other === this;
  }
}
