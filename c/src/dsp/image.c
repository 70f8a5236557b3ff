/* Pixels, averaged down to height by width, then (x + offset) * scale. */
#include "block.h"

static void read(tinyops_settings *settings, tinyops_front_end *end) {
  tinyops_image_settings *image = &end->settings.image;
  image->source_height = tinyops_settings_u16(settings);
  image->source_width = tinyops_settings_u16(settings);
  image->height = tinyops_settings_u16(settings);
  image->width = tinyops_settings_u16(settings);
  image->is_grey = tinyops_settings_choice(settings, 2) == 1;
  image->offset = tinyops_settings_f32(settings);
  image->scale = tinyops_settings_f32(settings);
  /* Readings are held to their own size. */
  end->scale = 1.0f;
}

static bool is_sound(const tinyops_front_end *end) {
  const tinyops_image_settings *image = &end->settings.image;
  return (uint32_t)image->source_height * image->source_width == end->window_len &&
         (end->channel_count == 1 || end->channel_count == 3) && image->height >= 1 &&
         image->height <= image->source_height && image->width >= 1 &&
         image->width <= image->source_width && tinyops_is_finite(image->offset) &&
         tinyops_is_finite(image->scale);
}

static void shape(const tinyops_front_end *end, uint32_t shape[3]) {
  shape[0] = end->settings.image.height;
  shape[1] = end->settings.image.width;
  shape[2] = end->settings.image.is_grey ? 1 : end->channel_count;
}

/* Where part `index` of `count` nearly equal parts of `whole` begins. */
static uint32_t part_start(uint32_t index, uint32_t count, uint32_t whole) {
  return index * whole / count;
}

/* The means of the channels over a part of the picture. */
static void average(const float *window, uint32_t source_width, uint32_t depth,
                    const uint32_t rows[2], const uint32_t columns[2], float mean[3]) {
  const float area = (float)((rows[1] - rows[0]) * (columns[1] - columns[0]));
  uint32_t row, column, channel;
  mean[0] = mean[1] = mean[2] = 0;
  for (row = rows[0]; row < rows[1]; row++) {
    const float *at = window + ((size_t)row * source_width + columns[0]) * depth;
    for (column = columns[0]; column < columns[1]; column++, at += depth) {
      for (channel = 0; channel < depth; channel++) mean[channel] += at[channel];
    }
  }
  for (channel = 0; channel < 3; channel++) mean[channel] /= area;
}

static void extract(const tinyops_front_end *end, const float *window, float *features,
                    float *scratch) {
  const tinyops_image_settings *image = &end->settings.image;
  const uint32_t depth = end->channel_count;
  uint32_t y, x, channel, rows[2], columns[2];
  float mean[3];
  (void)scratch;
  for (y = 0; y < image->height; y++) {
    rows[0] = part_start(y, image->height, image->source_height);
    rows[1] = part_start(y + 1, image->height, image->source_height);
    for (x = 0; x < image->width; x++) {
      columns[0] = part_start(x, image->width, image->source_width);
      columns[1] = part_start(x + 1, image->width, image->source_width);
      average(window, image->source_width, depth, rows, columns, mean);
      if (image->is_grey && depth == 3) {
        /* Weights of red, green and blue in a brightness (ITU-R BT.601). */
        mean[0] = mean[0] * 0.299f + mean[1] * 0.587f + mean[2] * 0.114f;
        *features++ = (mean[0] + image->offset) * image->scale;
        continue;
      }
      for (channel = 0; channel < depth; channel++) {
        *features++ = (mean[channel] + image->offset) * image->scale;
      }
    }
  }
}

const tinyops_block tinyops_image = {5, true, read, is_sound, shape, tinyops_no_scratch, extract};
