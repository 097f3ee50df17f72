import { dirname } from 'node:path';
import type { Plugin } from 'esbuild';

const namespace = 'lean-package';

/**
 * Leaves out of packages what no program uses, and what cost a good part of each start: zod's error texts in fifty
 * languages, and undici's mocks, caches, WebSocket and copy of the browser's interfaces. Whoever imports another part of
 * undici is told so by the build, and adds it here.
 */
export const leanPackages: Plugin = {
  name: 'lean-packages',
  setup(build) {
    build.onResolve({ filter: /\/locales\/index\.js$/ }, ({ importer }) =>
      /\/node_modules\/zod\//.test(importer) ? { path: 'zod/locales', namespace, pluginData: importer } : undefined,
    );
    build.onLoad({ filter: /^zod\/locales$/, namespace }, ({ pluginData: importer }) => ({
      contents: `export { default as en } from '../locales/en.js';`,
      resolveDir: dirname(importer),
    }));

    build.onResolve({ filter: /^undici$/ }, async ({ resolveDir, kind, pluginData }) => {
      if (pluginData === namespace) return undefined;
      const { path, errors } = await build.resolve('undici', { resolveDir, kind, pluginData: namespace });
      return errors.length > 0 ? { errors } : { path: 'undici', namespace, pluginData: path };
    });
    build.onLoad({ filter: /^undici$/, namespace }, ({ pluginData: index }) => ({
      contents: undici,
      resolveDir: dirname(index),
    }));
  },
};

const undici = `
import Dispatcher from './lib/dispatcher/dispatcher';
import api from './lib/api';
import redirect from './lib/interceptor/redirect';
// As its own index does.
Object.assign(Dispatcher.prototype, api);
export { default as Agent } from './lib/dispatcher/agent';
export const interceptors = { redirect };
export { default as DecoratorHandler } from './lib/handler/decorator-handler';
`;
