/*
 * queue_service - entry of the queue role: sole owner of queue.lmdb in queue_directory, giver of work to
 * relay and deliver.
 */
#ifndef QUEUE_QUEUE_SERVICE_H
#define QUEUE_QUEUE_SERVICE_H

int queue_main(int argc, char **argv);

#endif
