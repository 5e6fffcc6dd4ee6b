# Reference values from R. Run in this folder: Rscript make_survival.R
# Debian 12: R 4.2.2, survival 3.5-3, pROC 1.18.0, rms 6.5-0, riskRegression, pec, maxstat.
suppressPackageStartupMessages({
  library(survival); library(pROC); library(rms); library(riskRegression); library(maxstat)
})

rows <- list()
put <- function(cohort, quantity, value) {
  value <- as.numeric(value)
  if (length(value) == 0) stop("no value for ", quantity)
  rows[[length(rows) + 1]] <<- data.frame(
    cohort = cohort, quantity = quantity, index = seq_along(value) - 1,
    value = sprintf("%.15g", value))
}

for (cohort in c("tied", "continuous", "complete")) {
  d <- read.csv(paste0(cohort, ".csv"))
  d$w <- 1 + (seq_len(nrow(d)) %% 3)
  s <- Surv(d$time, d$event)
  horizon <- if (cohort == "complete") 5 else 3

  # Concordance: infinitesimal-jackknife variance; paired; Uno's weights G(t-)
  # (two Cox fits with fixed coefficients of 1 carry the two risks into the paired form)
  fixed <- function(f) coxph(f, data = d, init = 1, control = coxph.control(iter.max = 0))
  both <- concordance(fixed(s ~ risk_a), fixed(s ~ risk_b), timefix = FALSE)
  put(cohort, "concordance", coef(both)); put(cohort, "concordance_vcov", vcov(both))
  weighted <- concordance(s ~ risk_a, data = d, weights = w, reverse = TRUE, timefix = FALSE)
  put(cohort, "concordance_weighted", c(coef(weighted)))
  put(cohort, "uno", coef(concordance(s ~ risk_a, data = d, reverse = TRUE, timewt = "n/G2",
                                      timefix = FALSE)))
  put(cohort, "uno_tau", coef(concordance(s ~ risk_a, data = d, reverse = TRUE, timewt = "n/G2",
                                          ymax = horizon, timefix = FALSE)))

  # Kaplan-Meier
  for (type in c("log", "log-log", "plain")) {
    k <- survfit(s ~ 1, conf.type = type, timefix = FALSE)
    put(cohort, paste0("km_lower_", type), k$lower); put(cohort, paste0("km_upper_", type), k$upper)
  }
  put(cohort, "km_time", k$time); put(cohort, "km_survival", k$surv)
  put(cohort, "km_at_risk", k$n.risk); put(cohort, "km_log_error", k$std.err)
  put(cohort, "km_weighted", survfit(s ~ 1, weights = d$w, timefix = FALSE)$surv)
  put(cohort, "km_median", summary(k)$table["median"])

  # Log-rank
  one <- survdiff(s ~ stage, data = d)
  put(cohort, "logrank", one$chisq); put(cohort, "logrank_expected", one$exp)
  put(cohort, "logrank_stratified", survdiff(s ~ stage + strata(centre), data = d)$chisq)

  # Cox
  for (ties in c("efron", "breslow")) {
    f <- coxph(s ~ x1 + x2 + x3, data = d, ties = ties,
               control = coxph.control(timefix = FALSE, eps = 1e-12, toler.chol = 1e-14))
    put(cohort, paste0("cox_coef_", ties), coef(f)); put(cohort, paste0("cox_vcov_", ties), vcov(f))
    put(cohort, paste0("cox_loglik_", ties), f$loglik); put(cohort, paste0("cox_score_", ties), f$score)
    put(cohort, paste0("cox_survival_", ties),
        summary(survfit(f, newdata = d[1:3, ]), times = horizon)$surv)
    for (transform in c("km", "rank", "identity")) {
      z <- cox.zph(f, transform = transform, terms = FALSE)
      put(cohort, paste0("zph_", transform, "_", ties), z$table[, "chisq"])
    }
  }
  weighted <- coxph(s ~ x1 + x3, data = d, weights = w, control = coxph.control(eps = 1e-12, toler.chol = 1e-14))
  put(cohort, "cox_weighted", c(coef(weighted), sqrt(diag(vcov(weighted)))))
  full <- coxph(s ~ x1 + relevel(factor(stage), "II"), data = d)
  put(cohort, "cox_stage", c(exp(coef(full)), anova(full)[["Pr(>|Chi|)"]][3]))
  put(cohort, "cox_stage_drop_x1",
      anova(coxph(s ~ factor(stage), data = d), full)[["Pr(>|Chi|)"]][2])

  # Maximally selected log-rank statistic
  m <- maxstat.test(s ~ risk_a, data = d, smethod = "LogRank", pmethod = "Lau92", minprop = 0.1,
                    maxprop = 0.9)
  put(cohort, "maxstat", c(m$statistic, m$estimate, m$p.value))

  # ROC at the end of follow-up
  if (cohort != "complete") {
    a <- roc(d$event, d$risk_a, direction = "<", quiet = TRUE)
    b <- roc(d$event, d$risk_b, direction = "<", quiet = TRUE)
    put(cohort, "delong_ci", ci.auc(a, method = "delong"))
    put(cohort, "delong_variance", var(a, method = "delong"))
    put(cohort, "delong_p", roc.test(a, b, paired = TRUE, method = "delong")$p.value)

    # Time-dependent AUC and Brier score with marginal Kaplan-Meier weights
    times <- c(1.5, 2.5, 4.5)
    event_risk <- matrix(plogis(d$risk_a), nrow(d), 3)
    auc <- Score(list(m = event_risk), Surv(time, event) ~ 1, data = d, times = times,
                 metrics = "auc", conf.int = TRUE, cens.model = "km", null.model = FALSE)$AUC$score
    put(cohort, "score_auc", auc$AUC); put(cohort, "score_auc_se", auc$se)
    curves <- sapply(times, function(t) 1 - d$survival^(t / 3))
    brier <- Score(list(m = curves), Surv(time, event) ~ 1, data = d, times = times,
                   metrics = "brier", conf.int = FALSE, cens.model = "km",
                   null.model = TRUE)$Brier$score
    put(cohort, "score_brier", brier$Brier[brier$model == "m"])
    put(cohort, "score_brier_null", brier$Brier[brier$model == "Null model"])
  }

  # Calibration at the horizon: Greenwood-Nam-D'Agostino by its formula, on R's survfit
  cuts <- quantile(d$survival, c(0.25, 0.5, 0.75))
  group <- cut(d$survival, c(-Inf, cuts, Inf))
  k <- summary(survfit(s ~ group), times = horizon)
  p <- tapply(d$survival, group, mean)
  put(cohort, "gnd", sum((k$surv - p)^2 / k$std.err^2)); put(cohort, "gnd_observed", k$surv)
  cll <- log(-log(d$survival))
  for (knots in 3:5) {
    smooth <- coxph(s ~ rcs(cll, knots), control = coxph.control(eps = 1e-12, toler.chol = 1e-14))
    observed <- 1 - as.numeric(summary(survfit(smooth, newdata = data.frame(cll = cll)),
                                       times = horizon)$surv)
    gap <- abs(observed - (1 - d$survival))
    put(cohort, paste0("ici_", knots), c(mean(gap), median(gap), quantile(gap, 0.9)))
  }

  # Decision curve by its formula, on R's survfit
  benefit <- sapply(c(0.2, 0.4, 0.6), function(p) {
    above <- 1 - d$survival > p
    sv <- summary(survfit(s[above] ~ 1), times = horizon)$surv
    mean(above) * ((1 - sv) - sv * p / (1 - p))
  })
  put(cohort, "net_benefit", benefit)

  # Cohort comparisons: centre 1 against centre 2
  one <- d[d$centre == 1, ]; two <- d[d$centre == 2, ]
  put(cohort, "mann_whitney", wilcox.test(one$risk_a, two$risk_a, exact = FALSE)$p.value)
  pair <- d[d$centre < 3, ]
  table_stage <- table(pair$stage, pair$centre)
  put(cohort, "chi_square", suppressWarnings(chisq.test(table_stage, correct = FALSE)$p.value))
  put(cohort, "chi_square_2x2", chisq.test(table(pair$x3, pair$centre), correct = FALSE)$p.value)
  sparse <- pair[1:16, ]
  put(cohort, "fisher_2x2", fisher.test(table(sparse$x3, sparse$centre))$p.value)
  put(cohort, "fisher_rx2", fisher.test(table(sparse$stage, sparse$centre))$p.value)
}
write.csv(do.call(rbind, rows), "survival.csv", row.names = FALSE, quote = FALSE)
