//! What to train and how: the `[train]` table of `tinyops.toml`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{FrontEndSpec, ImageSpec, MfccSpec, SpectralSpec, TrainError};

/// Everything that decides a model besides the recordings: same spec, windows and seed, same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainSpec {
    /// What the model answers with.
    pub goal: Goal,
    /// Start of every random sequence.
    pub seed: u64,
    /// Passes over the training windows, at most.
    pub epochs: u32,
    /// Windows in one optimizer step.
    pub batch: u32,
    /// Largest learning rate of the cosine schedule.
    pub learning_rate: f32,
    /// Decoupled weight decay (AdamW), applied to weights only.
    pub weight_decay: f32,
    /// Share of the target spread evenly over all classes, 0 to below 1.
    pub label_smoothing: f32,
    /// Epochs without a better validation loss before training stops; 0 never stops early.
    pub patience: u32,
    /// Fits once more, to training and validation windows together, when validation has had its say.
    pub refit: bool,
    /// Weight of each class in the loss.
    pub class_weights: ClassWeights,
    /// A class whose share is below this is answered with "unsure"; 0 always answers.
    pub min_confidence: f32,
    /// What the signal processing makes of a window.
    pub front_end: FrontEndSpec,
    /// How features are standardised.
    pub scaler: ScalerSpec,
    /// Standardised features are held within so many deviations, in training and, by the range of the int8
    /// input, on the device: what no training window showed cannot shout down the rest. 0 sets no limit.
    /// Without effect on anomaly detection, which lives by what no training window showed.
    pub clip: f32,
    /// The model's body.
    pub network: NetworkSpec,
    /// Changed copies of the training windows.
    pub augment: AugmentSpec,
    /// What a wrong decision costs.
    pub costs: Costs,
    /// How the weights become int8.
    pub quantize: QuantizeSpec,
}

/// What a model answers with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// One of the labels.
    #[default]
    Classify,
    /// A number.
    Regress,
    /// How far a window is from the normal ones; trained on normal windows only.
    Anomaly,
}

/// The model's body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum NetworkSpec {
    /// Fully connected layers with ReLU between.
    Dense(DenseSpec),
    /// Convolutions along time; features are frames × channels, or height 1 of a raw window.
    Conv1d(Conv1dSpec),
    /// Two-dimensional convolutions over an image or a spectrogram.
    Conv2d(Conv2dSpec),
    /// A fully connected network that reproduces its input; the score is the mean squared error.
    Autoencoder(AutoencoderSpec),
    /// Distance to the nearest of a few centres of the normal windows.
    KMeans(KMeansSpec),
    /// Distance from the mean of the normal windows, in units of their covariance.
    Mahalanobis(MahalanobisSpec),
}

/// Fully connected layers with ReLU between.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DenseSpec {
    /// Units of each hidden layer, first to last; the last one's output is the embedding.
    pub hidden: Vec<u32>,
    /// Share of each hidden layer dropped in training, 0 to below 1.
    pub dropout: f32,
    /// Share of the inputs dropped in training, 0 to below 1.
    pub input_dropout: f32,
    /// Networks that are trained apart, from seeds of their own, and then laid side by side as one: its hidden
    /// layers are as wide as theirs together, its outputs their mean.
    pub members: u32,
    /// Share of the inputs that each of several members sees, chosen by its seed. Members that see different
    /// inputs err differently, which helps where test and training are different people or machines.
    pub member_inputs: f32,
}

impl Default for DenseSpec {
    fn default() -> Self {
        Self {
            hidden: vec![32],
            dropout: 0.0,
            input_dropout: 0.0,
            members: 1,
            member_inputs: 1.0,
        }
    }
}

/// Convolutions along time, each with batch norm, ReLU and max pooling; then the mean over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Conv1dSpec {
    /// Output channels of each convolution.
    pub channels: Vec<u32>,
    /// Taps of each convolution along time.
    pub kernel: u32,
    /// Frames that each max pooling joins; 1 pools nothing.
    pub pool: u32,
    /// Units of a dense layer before the last one; 0 leaves it out.
    pub hidden: u32,
    /// Share of the embedding dropped in training, 0 to below 1.
    pub dropout: f32,
}

impl Default for Conv1dSpec {
    fn default() -> Self {
        Self {
            channels: vec![16, 32],
            kernel: 5,
            pool: 2,
            hidden: 0,
            dropout: 0.1,
        }
    }
}

/// A convolution, then blocks of convolution (or depthwise separable convolution), batch norm,
/// ReLU and max pooling; then the mean over the plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Conv2dSpec {
    /// Output channels of each block.
    pub channels: Vec<u32>,
    /// Rows and columns of each kernel.
    pub kernel: [u32; 2],
    /// Steps of the first convolution, down and across.
    pub stride: [u32; 2],
    /// Rows and columns that each max pooling joins; blocks past the end pool nothing.
    pub pool: Vec<[u32; 2]>,
    /// Blocks after the first are depthwise separable (DS-CNN), for fewer weights and cycles.
    pub separable: bool,
    /// Units of a dense layer before the last one; 0 leaves it out.
    pub hidden: u32,
    /// Share of the embedding dropped in training, 0 to below 1.
    pub dropout: f32,
}

impl Default for Conv2dSpec {
    fn default() -> Self {
        Self {
            channels: vec![16, 32, 48],
            kernel: [3, 3],
            stride: [1, 1],
            pool: vec![[2, 2], [2, 2]],
            separable: false,
            hidden: 0,
            dropout: 0.2,
        }
    }
}

/// A fully connected network that reproduces its input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AutoencoderSpec {
    /// Units of each hidden layer, first to last; the narrowest is the bottleneck.
    pub hidden: Vec<u32>,
}

impl Default for AutoencoderSpec {
    fn default() -> Self {
        Self {
            hidden: vec![16, 4, 16],
        }
    }
}

/// Distance to the nearest of a few centres.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KMeansSpec {
    /// How many centres.
    pub centres: u32,
}

impl Default for KMeansSpec {
    fn default() -> Self {
        Self { centres: 8 }
    }
}

/// Distance from the mean, in units of the covariance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MahalanobisSpec {
    /// Share of the covariance's mean variance added to its diagonal.
    pub shrinkage: f32,
}

impl Default for MahalanobisSpec {
    fn default() -> Self {
        Self { shrinkage: 0.1 }
    }
}

/// How features are standardised before the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScalerSpec {
    /// Every feature by itself for vectors, each column over all frames for planes.
    #[default]
    Auto,
    /// Every feature has its own mean and deviation.
    Feature,
    /// Every feature by its median and quartiles: a class far away does not squeeze the others together.
    Robust,
    /// Every column (filter, coefficient, colour) has its own, shared by all frames.
    Column,
    /// One mean and one deviation for all.
    Whole,
    /// Features go to the network as they are.
    Off,
}

/// Changed copies of the training windows: what a device may see that the recordings lack.
///
/// Copies are made once, before training, and each epoch draws one copy of every window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentSpec {
    /// Changed copies of each window; 0 trains on the recordings alone.
    pub copies: u32,
    /// Deviation of added white noise, as a share of the window's own deviation.
    pub noise: f32,
    /// Largest relative change of amplitude, up or down.
    pub scale: f32,
    /// Largest shift in time, as a share of the window; what is shifted in is the other end.
    pub shift: f32,
    /// Largest relative change of speed (and so of pitch), up or down.
    pub speed: f32,
    /// Largest rotation of the sensor, in degrees; channels are taken three by three as x, y, z.
    pub rotate_degrees: f32,
    /// Frames hidden in a plane of features, at most (a mask along time).
    pub mask_frames: u32,
    /// Columns hidden in a plane of features, at most (a mask along frequency).
    pub mask_columns: u32,
    /// Deviation of noise added to standardised features, in every step.
    pub feature_noise: f32,
    /// Largest weight given to a second window mixed into the first (mixup), 0 to 0.5.
    pub mix: f32,
}

impl Default for AugmentSpec {
    fn default() -> Self {
        Self {
            copies: 0,
            noise: 0.0,
            scale: 0.0,
            shift: 0.0,
            speed: 0.0,
            rotate_degrees: 0.0,
            mask_frames: 0,
            mask_columns: 0,
            feature_noise: 0.0,
            mix: 0.0,
        }
    }
}

/// What a wrong decision costs, in any one currency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Costs {
    /// The label (or labels) of windows where nothing is wrong.
    pub normal: Vec<String>,
    /// An alarm where nothing is wrong.
    pub false_alarm: f32,
    /// No alarm where something is, or an alarm for another fault; every wrong answer where no class is normal.
    pub miss: f32,
    /// Expected share of windows where something is wrong.
    pub fault_share: f32,
    /// Prices of single confusions, before those above.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cost: Vec<Price>,
    /// Windows that a device decides on in a month; without it, as many as follow each other in 30 days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows_per_month: Option<f64>,
}

/// What one answer costs to windows of one class: an entry of a cost matrix.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// What the window is.
    pub is: String,
    /// What is said of it: a class, or `alarm` or `no alarm` where the model has no classes.
    pub said: String,
    /// What that costs.
    pub cost: f32,
}

/// What a model without classes says of a window above its threshold.
pub const ALARM: &str = "alarm";
/// What it says of any other.
pub const NO_ALARM: &str = "no alarm";

impl Default for Costs {
    fn default() -> Self {
        Self {
            normal: Vec::new(),
            false_alarm: 1.0,
            miss: 10.0,
            fault_share: 0.05,
            cost: Vec::new(),
            windows_per_month: None,
        }
    }
}

impl Costs {
    /// Indices of the classes where nothing is wrong.
    #[must_use]
    pub fn normal_of(&self, classes: &[String]) -> Vec<usize> {
        let place = |label| classes.iter().position(|class| class == label);
        let mut normal: Vec<usize> = self.normal.iter().filter_map(place).collect();
        normal.sort_unstable();
        normal.dedup();
        normal
    }

    /// Whether the project has said what errors cost: which classes are normal, or a price of its own.
    #[must_use]
    pub fn are_set(&self) -> bool {
        !self.normal.is_empty() || !self.cost.is_empty()
    }

    /// What it costs to say `said` of a window that is `is`.
    ///
    /// What `cost` says of the two; else nothing where the answer is right, or both are normal; `false_alarm` where
    /// something normal is called a fault; `miss` for any other wrong answer.
    #[must_use]
    pub fn price(&self, is: &str, said: &str) -> f64 {
        let named = self
            .cost
            .iter()
            .find(|price| price.is == is && price.said == said);
        if let Some(price) = named {
            return price.cost.into();
        }
        let is_normal = |label: &str| self.normal.iter().any(|normal| normal == label);
        let says_normal = said == NO_ALARM || is_normal(said);
        match (is_normal(is), says_normal) {
            _ if is == said => 0.0,
            (true, true) => 0.0,
            (true, false) => self.false_alarm.into(),
            // An alarm without a name is right about every fault.
            (false, false) if said == ALARM => 0.0,
            (false, _) => self.miss.into(),
        }
    }

    /// What is wrong with its numbers.
    fn check(&self) -> Result<(), TrainError> {
        for price in &self.cost {
            if !(price.cost.is_finite() && price.cost >= 0.0) {
                let reason = format!(
                    "must be a finite number from 0 on (`is = \"{}\", said = \"{}\"`)",
                    price.is, price.said
                );
                return Err(TrainError::setting("train.costs.cost", price.cost, reason));
            }
            let others = self
                .cost
                .iter()
                .filter(|other| (&other.is, &other.said) == (&price.is, &price.said));
            if others.count() > 1 {
                let pair = format!("`{}` said of `{}`", price.said, price.is);
                return Err(TrainError::setting(
                    "train.costs.cost",
                    pair,
                    "has two prices",
                ));
            }
        }
        match self.windows_per_month {
            Some(windows) if !(windows.is_finite() && windows > 0.0) => Err(TrainError::setting(
                "train.costs.windows_per_month",
                windows,
                "must be a finite number above 0",
            )),
            _ => Ok(()),
        }
    }
}

/// Weight of each class in the loss.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// All the same.
    #[default]
    Even,
    /// Inverse to how often a class occurs.
    Balanced,
    /// Named, in any unit; a class not named weighs 1.
    Labels(BTreeMap<String, f32>),
}

/// How the weights become int8.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuantizeSpec {
    /// How an activation's range is taken from the calibration windows.
    pub range: Range,
    /// Training windows used for calibration, spread evenly; 0 uses all.
    pub windows: u32,
}

impl Default for QuantizeSpec {
    fn default() -> Self {
        Self {
            range: Range::Mse,
            windows: 1024,
        }
    }
}

/// How an activation's range is taken from the calibration windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Range {
    /// Smallest to largest value seen.
    Full,
    /// Without the outermost thousandth on either side.
    Percentile,
    /// The range whose rounding and clipping error, squared, is least.
    #[default]
    Mse,
}

/// What a project starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Template {
    /// Machines: spectral features of an accelerometer, a small dense network.
    Vibration,
    /// People and gestures: spectral features with the channels' correlations.
    Motion,
    /// Sounds and words: a mel spectrogram and a small convolutional network.
    Audio,
    /// Pictures: pixels and a small convolutional network.
    Image,
}

impl Default for TrainSpec {
    fn default() -> Self {
        Self {
            goal: Goal::Classify,
            seed: 1,
            epochs: 60,
            batch: 32,
            learning_rate: 3e-3,
            weight_decay: 1e-3,
            label_smoothing: 0.05,
            patience: 0,
            refit: true,
            class_weights: ClassWeights::Even,
            min_confidence: 0.0,
            front_end: FrontEndSpec::default(),
            scaler: ScalerSpec::Auto,
            clip: 3.0,
            network: NetworkSpec::Dense(DenseSpec::default()),
            augment: AugmentSpec::default(),
            costs: Costs::default(),
            quantize: QuantizeSpec::default(),
        }
    }
}

impl TrainSpec {
    /// The settings a project of this kind starts with.
    pub fn template(template: Template) -> Self {
        let base = Self::default();
        match template {
            // Chosen on recordings of bearings, leaving one load out: copies of another strength and with more
            // noise stand for machines and mountings that training has not seen.
            Template::Vibration => Self {
                front_end: FrontEndSpec::Spectral(SpectralSpec {
                    bands: 12,
                    ..SpectralSpec::default()
                }),
                augment: AugmentSpec {
                    copies: 3,
                    scale: 0.3,
                    noise: 0.1,
                    feature_noise: 0.3,
                    ..AugmentSpec::default()
                },
                ..base
            },
            // Chosen on activities, leaving blocks of people out.
            Template::Motion => Self {
                front_end: FrontEndSpec::Spectral(SpectralSpec {
                    shape: true,
                    percentiles: true,
                    magnitude: true,
                    cross: true,
                    ..SpectralSpec::default()
                }),
                network: NetworkSpec::Dense(DenseSpec {
                    hidden: vec![32],
                    dropout: 0.3,
                    ..DenseSpec::default()
                }),
                ..base
            },
            // Chosen on spoken digits, leaving two speakers out: speed changes stand for other voices.
            Template::Audio => Self {
                epochs: 40,
                front_end: FrontEndSpec::Mfcc(MfccSpec::default()),
                network: NetworkSpec::Conv1d(Conv1dSpec {
                    channels: vec![32, 48],
                    kernel: 3,
                    dropout: 0.3,
                    ..Conv1dSpec::default()
                }),
                augment: AugmentSpec {
                    copies: 4,
                    speed: 0.2,
                    noise: 0.05,
                    feature_noise: 0.2,
                    mask_frames: 2,
                    mix: 0.2,
                    ..AugmentSpec::default()
                },
                ..base
            },
            Template::Image => Self {
                front_end: FrontEndSpec::Image(ImageSpec::default()),
                network: NetworkSpec::Conv2d(Conv2dSpec::default()),
                ..base
            },
        }
    }

    /// Holds every number against its range.
    ///
    /// # Errors
    /// [`TrainError::Setting`] for the first that is outside, with its key.
    pub fn check(&self) -> Result<(), TrainError> {
        let positive = |key: &str, value: f32| {
            if value.is_finite() && value > 0.0 {
                Ok(())
            } else {
                Err(TrainError::setting(
                    key,
                    value,
                    "must be a finite number above 0",
                ))
            }
        };
        let within = |key: &str, value: f32, low: f32, high: f32| {
            if value >= low && value <= high {
                Ok(())
            } else {
                Err(TrainError::setting(
                    key,
                    value,
                    format!("must be {low} to {high}"),
                ))
            }
        };
        positive("train.learning_rate", self.learning_rate)?;
        within("train.epochs", self.epochs as f32, 1.0, 100_000.0)?;
        within("train.batch", self.batch as f32, 1.0, 8192.0)?;
        within("train.weight_decay", self.weight_decay, 0.0, 10.0)?;
        within("train.label_smoothing", self.label_smoothing, 0.0, 0.9)?;
        within(
            "train.costs.false_alarm",
            self.costs.false_alarm,
            0.0,
            f32::MAX,
        )?;
        within("train.costs.miss", self.costs.miss, 0.0, f32::MAX)?;
        within("train.costs.fault_share", self.costs.fault_share, 0.0, 1.0)?;
        self.costs.check()?;
        let augment = &self.augment;
        within("train.augment.copies", augment.copies as f32, 0.0, 100.0)?;
        within("train.augment.noise", augment.noise, 0.0, 10.0)?;
        within("train.augment.scale", augment.scale, 0.0, 0.95)?;
        within("train.augment.shift", augment.shift, 0.0, 1.0)?;
        within("train.augment.speed", augment.speed, 0.0, 0.5)?;
        within(
            "train.augment.rotate_degrees",
            augment.rotate_degrees,
            0.0,
            180.0,
        )?;
        within(
            "train.augment.feature_noise",
            augment.feature_noise,
            0.0,
            10.0,
        )?;
        within("train.augment.mix", augment.mix, 0.0, 0.5)?;
        self.network.check(self.goal)
    }
}

impl NetworkSpec {
    fn check(&self, goal: Goal) -> Result<(), TrainError> {
        let layers = |key: &str, units: &[u32]| match units.iter().find(|&&u| u == 0 || u > 4096) {
            Some(unit) => Err(TrainError::setting(key, unit, "must be 1 to 4096")),
            None if units.len() > 32 => Err(TrainError::setting(
                key,
                units.len(),
                "must be at most 32 layers",
            )),
            None => Ok(()),
        };
        let share = |key: &str, value: f32| {
            if (0.0..1.0).contains(&value) {
                Ok(())
            } else {
                Err(TrainError::setting(key, value, "must be 0 to below 1"))
            }
        };
        let fits_goal = |anomaly: bool| {
            if anomaly == (goal == Goal::Anomaly) {
                Ok(())
            } else {
                let reason = if anomaly {
                    "needs `goal = \"anomaly\"`"
                } else {
                    "cannot serve `goal = \"anomaly\"`: take autoencoder, k_means or mahalanobis"
                };
                Err(TrainError::setting(
                    "train.network.kind",
                    self.name(),
                    reason,
                ))
            }
        };
        match self {
            Self::Dense(spec) => {
                layers("train.network.hidden", &spec.hidden)?;
                share("train.network.dropout", spec.dropout)?;
                share("train.network.input_dropout", spec.input_dropout)?;
                layers("train.network.members", &[spec.members])?;
                if !(spec.member_inputs > 0.0 && spec.member_inputs <= 1.0) {
                    return Err(TrainError::setting(
                        "train.network.member_inputs",
                        spec.member_inputs,
                        "must be above 0, to 1",
                    ));
                }
                fits_goal(false)
            }
            Self::Conv1d(spec) => {
                layers("train.network.channels", &spec.channels)?;
                layers("train.network.kernel", &[spec.kernel])?;
                layers("train.network.pool", &[spec.pool])?;
                share("train.network.dropout", spec.dropout)?;
                fits_goal(false)
            }
            Self::Conv2d(spec) => {
                layers("train.network.channels", &spec.channels)?;
                layers("train.network.kernel", &spec.kernel)?;
                layers("train.network.stride", &spec.stride)?;
                for pool in &spec.pool {
                    layers("train.network.pool", pool)?;
                }
                share("train.network.dropout", spec.dropout)?;
                fits_goal(false)
            }
            Self::Autoencoder(spec) => {
                layers("train.network.hidden", &spec.hidden)?;
                fits_goal(true)
            }
            Self::KMeans(spec) => {
                layers("train.network.centres", &[spec.centres])?;
                fits_goal(true)
            }
            Self::Mahalanobis(spec) => {
                if !(spec.shrinkage > 0.0 && spec.shrinkage.is_finite()) {
                    return Err(TrainError::setting(
                        "train.network.shrinkage",
                        spec.shrinkage,
                        "must be a finite number above 0",
                    ));
                }
                fits_goal(true)
            }
        }
    }

    /// The body's name in the project file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Dense(_) => "dense",
            Self::Conv1d(_) => "conv1d",
            Self::Conv2d(_) => "conv2d",
            Self::Autoencoder(_) => "autoencoder",
            Self::KMeans(_) => "k_means",
            Self::Mahalanobis(_) => "mahalanobis",
        }
    }
}
