import { Router } from 'express';
import { type MessageContext, vcapApplication, vcapServices } from '../agents/app-messages.js';
import type { AppStore } from '../store/app-store.js';

export interface EnvironmentApiOptions {
  apps: AppStore;
  context: MessageContext;
}

/** `GET /apps/:guid/env`: what an app's processes find in their environment, with a real Cloud Controller's keys. */
export function environmentApi({ apps, context }: EnvironmentApiOptions): Router {
  return Router().get('/apps/:guid/env', (request, response) => {
    const app = apps.get(request.params.guid);
    response.json({
      staging_env_json: context.stagingEnvironment,
      running_env_json: context.runningEnvironment,
      environment_json: app.env,
      system_env_json: { VCAP_SERVICES: vcapServices(app) },
      application_env_json: { VCAP_APPLICATION: vcapApplication(app, context) },
    });
  });
}
