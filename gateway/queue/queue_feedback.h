/*
 * queue_feedback - by how much one delivery moves a destination's window.
 *
 * The values of default_destination_concurrency_positive_feedback and _negative_feedback: "1", "0.5",
 * "1/concurrency", "1/sqrt_concurrency" (Postfix, SCHEDULER_README).
 */
#ifndef QUEUE_QUEUE_FEEDBACK_H
#define QUEUE_QUEUE_FEEDBACK_H

struct queue_feedback {
    double value; /* 0 to 1 */
    enum { QUEUE_FEEDBACK_FIXED, QUEUE_FEEDBACK_LINEAR, QUEUE_FEEDBACK_ROOT } kind;
};

/* GW_ERR_SYNTAX: *feedback_r is then the fixed 1. */
int queue_feedback_parse(const char *text, struct queue_feedback *feedback_r);
double queue_feedback_of(const struct queue_feedback *feedback, int window);

#endif
