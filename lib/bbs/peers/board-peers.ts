import { type Identity, readIdentity } from '../../http/internal-tls.js';
import type { Logger } from '../../logging/logger.js';
import type { BbsConfig } from '../config.js';
import { Auctioneer } from './auctioneer.js';
import { HttpReps } from './http-reps.js';
import { PeerClient } from './peer-client.js';

/** To the auctioneer at the same time: one for each kind of request. */
const auctioneerConnections = 2;

/** Auctioneer and reps, as the configuration says how to reach them. */
export class BoardPeers {
  readonly auctions: Auctioneer;
  readonly reps: HttpReps;
  readonly #clients: readonly PeerClient[];

  /** @throws when a certificate's file cannot be read */
  constructor(config: BbsConfig, logger: Logger) {
    const timeoutMs = config.communication_timeout * 1000;
    const auctioneer = new PeerClient({
      tls: identityOf(config.auctioneer_ca_cert, config.auctioneer_client_cert, config.auctioneer_client_key),
      timeoutMs,
      connections: auctioneerConnections,
    });
    const reps = new PeerClient({
      tls: identityOf(config.rep_ca_cert, config.rep_client_cert, config.rep_client_key),
      timeoutMs,
    });
    this.#clients = [auctioneer, reps];
    this.reps = new HttpReps(reps);
    this.auctions = new Auctioneer({
      address: config.auctioneer_address,
      requireTls: config.auctioneer_require_tls,
      client: auctioneer,
      logger,
    });
  }

  /** Cuts what is under way. Idempotent. */
  async stop(): Promise<void> {
    await this.auctions.stop();
    for (const client of this.#clients) await client.stop();
  }
}

function identityOf(caFile: string, certFile: string, keyFile: string): Identity | undefined {
  return caFile === '' ? undefined : readIdentity({ caFile, certFile, keyFile });
}
