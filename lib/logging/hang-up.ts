import { errorData } from './logger.js';
import type { StenoLevel, StenoLogger } from './steno.js';

/**
 * HUP opens log files anew, as logrotate wants it, and takes over the level that the configuration now has. A file that
 * is not valid any more changes nothing.
 *
 * @param readLevel reads the configuration again; may throw
 */
export function reloadOnHangUp(logger: StenoLogger, readLevel: () => StenoLevel): void {
  process.on('SIGHUP', () => {
    logger.reopen();
    try {
      const level = readLevel();
      logger.setLevel(level);
      logger.info('logging.reopened', { level });
    } catch (error) {
      logger.warn('logging.configuration.invalid', errorData(error));
    }
  });
}
