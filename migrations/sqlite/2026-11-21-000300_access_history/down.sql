DROP TABLE access_marks;
