/*
 * fuzz_driver - runs a fuzz target over files and directories given as arguments: the seeds as a test. A
 * small file is also run cut off behind each of its bytes.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CUT_MAX = 1024 };

/* In memory exactly as long as the input, so that AddressSanitizer sees a read past its end. */
static int
run_bytes(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);

    if (copy == NULL) {
        return 1;
    }
    memcpy(copy, data, size);
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    return 0;
}

static int
run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct stat st;
    int r = 1;

    if (file == NULL || fstat(fileno(file), &st) == -1) {
        perror(path);
        return 1;
    }
    size_t size = (size_t)st.st_size;
    uint8_t *data = malloc(size > 0 ? size : 1);
    if (data != NULL && fread(data, 1, size, file) == size) {
        r = run_bytes(data, size);
        for (size_t n = 1; n < size && size <= CUT_MAX && r == 0; n++) {
            r = run_bytes(data, n);
        }
    }
    free(data);
    (void)fclose(file);
    return r;
}

static int
run_path(const char *path, size_t *count)
{
    char below[4096];
    struct stat st;
    int r = 0;

    if (stat(path, &st) == -1) {
        perror(path);
        return 1;
    }
    if (!S_ISDIR(st.st_mode)) {
        (*count)++;
        return run_file(path);
    }
    DIR *directory = opendir(path);
    if (directory == NULL) {
        perror(path);
        return 1;
    }
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        if (entry->d_name[0] != '.') {
            (void)snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
            r |= run_path(below, count);
        }
    }
    (void)closedir(directory);
    return r;
}

int
main(int argc, char **argv)
{
    size_t count = 0;
    int r = 0;

    (void)LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        r |= run_path(argv[i], &count);
    }
    (void)printf("%zu inputs\n", count);
    return r != 0 || (argc > 1 && count == 0);
}
