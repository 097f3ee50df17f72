import { json, Router } from 'express';
import { z } from 'zod';
import { ApiError } from '../errors.js';
import { newTaskSchema, type Task } from '../tasks/task.js';
import type { TaskController } from '../tasks/task-controller.js';

/** Users' requests about tasks, behind the bearer token. */
export function tasksApi({ tasks }: { tasks: TaskController }): Router {
  const router = Router();

  router.post('/apps/:guid/tasks', json({ limit: '1mb' }), async (request, response) => {
    const task = newTaskSchema.safeParse(request.body);
    if (!task.success) throw new ApiError('UnprocessableEntity', z.prettifyError(task.error));
    response.status(202).json(shown(await tasks.create(request.params.guid!, task.data)));
  });

  router.get('/apps/:guid/tasks', (request, response) => {
    response.json({ resources: tasks.listOfApp(request.params.guid).map(shown) });
  });

  router.get('/tasks/:guid', (request, response) => void response.json(shown(tasks.get(request.params.guid))));

  router.put('/tasks/:guid/cancel', async (request, response) => {
    response.status(202).json(shown(await tasks.cancel(request.params.guid)));
  });

  return router;
}

/** With a real Cloud Controller's keys; variables may be secrets, and are not among them. */
function shown({ id: _id, environment_variables: _variables, failure_reason, ...task }: Task) {
  return { ...task, result: { failure_reason } };
}
