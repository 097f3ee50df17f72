import type { PeerTls } from '../../../../bbs/client/http-peer.js';
import { stripUserinfo } from '../../../../http/url.js';
import type { GivenFlags } from './flags.js';
import { BadArguments } from './word-failure.js';

/** How a BBS, and the reps it knows of, are spoken with. */
export interface Connection {
  url: string;
  /** Undefined with HTTP. */
  tls: PeerTls | undefined;
  /** Of a call; 0: none. */
  timeoutMs: number;
}

/** @throws BadArguments naming the flag */
export async function readConnection(flags: GivenFlags): Promise<Connection> {
  const { timeoutMs } = flags;
  const url = flags.require('bbsURL', 'no BBS is named');
  const protocol = URL.canParse(url) ? new URL(url).protocol : '';
  if (protocol === 'http:') return { url, tls: undefined, timeoutMs };
  if (protocol !== 'https:') {
    throw new BadArguments(`--bbsURL: ${JSON.stringify(stripUserinfo(url))} is no https or http URL`);
  }
  const purpose = 'an https URL needs certificates';
  const skipCertVerify = flags.skipsCertVerify;
  const tls = {
    ...(!skipCertVerify && { ca: await flags.readFile('caCertFile', `${purpose}, unless --skipCertVerify is given`) }),
    cert: await flags.readFile('clientCertFile', purpose),
    key: await flags.readFile('clientKeyFile', purpose),
    skipCertVerify,
  };
  return { url, tls, timeoutMs };
}
