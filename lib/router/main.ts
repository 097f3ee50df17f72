import { createStenoLogger } from '../logging/steno.js';
import { runProgram } from '../process/program.js';
import { loadRouterConfig, type RouterConfig } from './config.js';
import { Router } from './router.js';

void runProgram<RouterConfig>({
  name: 'router',
  summary: 'Runs a small HTTP and WebSocket router for development, fed by router.register over NATS.',
  details: 'Every key of the configuration is explained in config/router.yml.',
  load: loadRouterConfig,
  create(config) {
    const { level, file } = config.logging;
    return Router.create({
      config,
      logger: createStenoLogger({ source: 'Router', level, ...(file !== undefined && { file }) }),
    });
  },
});
