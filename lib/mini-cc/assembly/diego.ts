import { Bridge } from '../diego/bridge.js';
import { NsyncClient } from '../diego/nsync-client.js';
import { DiegoRunner } from '../diego/runner.js';
import { StagerClient } from '../diego/stager-client.js';
import { TpsClient } from '../diego/tps-client.js';
import type { ControlOptions } from './control-options.js';
import { diegoContext } from './settings.js';

/**
 * The three listeners of the CC-bridge; where none is configured, whatever is asked of them is refused. The bridge is to
 * be closed by whoever asks for it.
 */
export function reachDiego({
  config,
  access,
  urls,
  interceptor,
}: Pick<ControlOptions, 'config' | 'access' | 'urls' | 'interceptor'>) {
  const bridge = new Bridge({ interceptor });
  const nsync = new NsyncClient(bridge, config.diego_nsync_url);
  return {
    bridge,
    nsync,
    diego: new DiegoRunner({ nsync, urls, context: diegoContext(config, access.spaceGuid) }),
    tps: new TpsClient(bridge, config.diego_tps_url),
    stagerClient: new StagerClient(bridge, config.diego_stager_url),
  };
}
