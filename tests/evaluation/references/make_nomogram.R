# Reference values for nomograms from R. Run in this folder: Rscript make_nomogram.R
# Debian 12: R 4.2.2, rms 6.5-0, survival 3.5-3.
suppressPackageStartupMessages({ library(survival); library(rms) })

rows <- list()
put <- function(cohort, quantity, key, value) {
  rows[[length(rows) + 1]] <<- data.frame(
    cohort = cohort, quantity = quantity, key = key, value = sprintf("%.15g", as.numeric(value)))
}

for (cohort in c("tied", "continuous")) {
  d <- read.csv(paste0(cohort, ".csv"))
  d$stage <- factor(d$stage)
  dd <- datadist(d); options(datadist = "dd")
  f <- cph(Surv(time, event) ~ x1 + x2 + stage, data = d, x = TRUE, y = TRUE, surv = TRUE,
           method = "efron", eps = 1e-12)
  s <- Survival(f)
  at <- list(x1 = c(-2, -1, 0, 1.5, 2), x2 = c(-3, 0, 0.5, 3))
  nom <- nomogram(f, x1 = at$x1, x2 = at$x2, maxscale = 100, lp = TRUE,
                  fun = list(early = function(lp) s(1.5, lp), late = function(lp) s(3, lp)),
                  fun.at = c(0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1))
  for (name in c("x1", "x2")) {
    put(cohort, paste0("points_", name), nom[[name]][[1]], nom[[name]]$points)
  }
  put(cohort, "points_stage", as.character(nom$stage$stage), nom$stage$points)
  for (name in c("early", "late")) {
    scale <- nom[[name]]
    put(cohort, paste0("total_points_", name), scale$fat, scale$x)
  }
  # Survival with intervals of the first ten patients: rms, and survival's survfit beside it
  ordinary <- coxph(Surv(time, event) ~ x1 + x2 + stage, data = d, ties = "efron",
                    control = coxph.control(timefix = FALSE, eps = 1e-12, toler.chol = 1e-14))
  for (horizon in c(1.5, 3)) {
    by_rms <- survest(f, newdata = d[1:10, ], times = horizon, conf.type = "log-log")
    put(cohort, paste0("rms_survival_", horizon), 0:9, by_rms$surv)
    k <- summary(survfit(ordinary, newdata = d[1:10, ], conf.type = "log-log"), times = horizon)
    for (what in c("surv", "lower", "upper")) {
      put(cohort, paste0("survfit_", what, "_", horizon), 0:9, k[[what]])
    }
  }
}
write.csv(do.call(rbind, rows), "nomogram.csv", row.names = FALSE, quote = FALSE)
