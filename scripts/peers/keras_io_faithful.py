"""Worker for the keras.io example of 2021, "Multiclass semantic segmentation using DeepLabV3+".

Its network and training as published, in stock Keras: taps inside bottlenecks, pixels in -1..1, pooling of a fixed
size, the classifier at full resolution, Keras' own step. Weights are random, which costs the same time.
"""

import serving

asked = serving.request()

import keras  # noqa: E402  after the thread count is set
import tensorflow as tf  # noqa: E402
from keras import layers  # noqa: E402

NUM_CLASSES = 20


def convolution_block(x, num_filters=256, kernel_size=3, dilation_rate=1, use_bias=False):
    x = layers.Conv2D(
        num_filters,
        kernel_size,
        dilation_rate=dilation_rate,
        padding="same",
        use_bias=use_bias,
        kernel_initializer=keras.initializers.HeNormal(),
    )(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def dilated_spatial_pyramid_pooling(features):
    height, width = features.shape[1:3]
    pooled = layers.AveragePooling2D((height, width))(features)
    pooled = convolution_block(pooled, kernel_size=1, use_bias=True)
    branches = [layers.UpSampling2D((height, width), interpolation="bilinear")(pooled)]
    for kernel_size, rate in ((1, 1), (3, 6), (3, 12), (3, 18)):
        branches.append(convolution_block(features, kernel_size=kernel_size, dilation_rate=rate))
    return convolution_block(layers.Concatenate()(branches), kernel_size=1)


def deeplabv3plus(image_size):
    pixels = keras.Input((image_size, image_size, 3))
    resnet = keras.applications.ResNet50(weights=None, include_top=False, input_tensor=pixels)
    x = dilated_spatial_pyramid_pooling(resnet.get_layer("conv4_block6_2_relu").output)
    quarter = image_size // 4
    x = layers.UpSampling2D((quarter // x.shape[1], quarter // x.shape[2]), interpolation="bilinear")(x)
    low_level = convolution_block(resnet.get_layer("conv2_block3_2_relu").output, num_filters=48, kernel_size=1)
    x = convolution_block(convolution_block(layers.Concatenate()([x, low_level])))
    x = layers.UpSampling2D((image_size // x.shape[1], image_size // x.shape[2]), interpolation="bilinear")(x)
    return keras.Model(pixels, layers.Conv2D(NUM_CLASSES, 1, padding="same")(x))


def main():
    model = deeplabv3plus(asked.size)
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=0.001),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    images, labels = serving.images(asked, NUM_CLASSES)
    images, labels = tf.constant(images / 127.5 - 1, tf.float32), tf.constant(labels[..., None], tf.float32)
    for _ in serving.steps(asked, sum(weight.numpy().size for weight in model.trainable_weights)):
        if asked.task == "train":
            model.train_on_batch(images, labels)
        else:
            model.predict_on_batch(images)


if __name__ == "__main__":
    main()
