/*
 * queue_feedback - see the header. Used by queue_schedule.c; read from the configuration by queue_settings.c.
 */
#include "queue/queue_feedback.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

int
queue_feedback_parse(const char *text, struct queue_feedback *feedback_r)
{
    char *end;
    double value = strtod(text, &end);

    *feedback_r = (struct queue_feedback){.value = 1.0, .kind = QUEUE_FEEDBACK_FIXED};
    if (end == text || !(value >= 0 && value <= 1)) {
        return GW_ERR_SYNTAX;
    }
    while (*end == ' ' || *end == '/') {
        end++;
    }
    if (*end == '\0') {
        feedback_r->value = value;
    } else if (strcmp(end, "concurrency") == 0) {
        *feedback_r = (struct queue_feedback){.value = value, .kind = QUEUE_FEEDBACK_LINEAR};
    } else if (strcmp(end, "sqrt_concurrency") == 0) {
        *feedback_r = (struct queue_feedback){.value = value, .kind = QUEUE_FEEDBACK_ROOT};
    } else {
        return GW_ERR_SYNTAX;
    }
    return 0;
}

/* Newton's steps: a window is a small number, and libm is not worth linking for it. */
static double
root_of(double size)
{
    double root = size;

    for (int i = 0; i < 24; i++) {
        root = (root + size / root) / 2;
    }
    return root;
}

double
queue_feedback_of(const struct queue_feedback *feedback, int window)
{
    double size = window > 0 ? window : 1;

    switch (feedback->kind) {
    case QUEUE_FEEDBACK_LINEAR:
        return feedback->value / size;
    case QUEUE_FEEDBACK_ROOT:
        return feedback->value / root_of(size);
    case QUEUE_FEEDBACK_FIXED:
        break;
    }
    return feedback->value;
}
